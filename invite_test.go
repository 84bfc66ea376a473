package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"edge/sessions"
)

// invited is a login that one may register at by a link.
var invited = strings.Replace(twoSites, `host = "login.localhost"`, "host = \"login.localhost\"\nregistration = \"invite\"", 1)

var inviteLink = regexp.MustCompile(`https://login\.localhost:\d+/register\?invite=[\w-]{43}`)

// logged are the pieces of the log that match.
func (p *proc) logged(re *regexp.Regexp) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		found = append(found, re.FindAllString(line, -1)...)
	}
	return found
}

var inviteField = regexp.MustCompile(`name="invite" value="([^"]*)"`)

// register fills in the page behind a link, if it shows a form.
func register(t *testing.T, c *http.Client, link, name, password string) (at *url.URL, body string) {
	t.Helper()
	at, body = visit(t, c, link)
	m := inviteField.FindStringSubmatch(body)
	if m == nil {
		return at, body
	}
	form := url.Values{"name": {name}, "password": {password}, "invite": {m[1]}}
	return send(t, c, &url.URL{Scheme: "https", Host: at.Host, Path: "/register"}, form)
}

// The first start without accounts logs one link, which a reload and an upgrade leave as it is; it makes an account with every right, once, and
// no start offers another one. By then others come by links of edge invite. All of it is in the audit log, and no code is in any log.
func TestSetupAndInvite(t *testing.T) {
	p := start(t, "edge", invited)
	p.waitLog("there is no account yet")
	p.reload()
	p.upgrade()
	links := p.logged(inviteLink)
	if len(links) != 1 {
		t.Fatalf("links in the log: %v", links)
	}
	_, port, _ := net.SplitHostPort(p.addr("https"))
	if !strings.Contains(links[0], ":"+port+"/") {
		t.Errorf("the link %s is not for port %s", links[0], port)
	}
	root := p.person()
	if at, body := register(t, root, links[0], "Root", "correct horse"); at.Path != "/account" || !strings.Contains(body, "root") {
		t.Fatalf("the setup led to %s:\n%s", at, body)
	}
	if _, body := register(t, p.person(), links[0], "eve", "correct horse"); !strings.Contains(body, "Invitation not valid") {
		t.Errorf("the link was used twice:\n%s", body)
	}
	wants(t, p.user("", "list"), "root admin")

	command := func(args ...string) string {
		t.Helper()
		out, code := p.cli(args...)
		if code != 0 {
			t.Fatalf("edge %v: %d\n%s", args, code, out)
		}
		return out
	}
	link := strings.TrimSpace(command("invite", "--group", "staff", "--email", "dave@example.org", "--expires", "1h"))
	if m := regexp.MustCompile(`^https://login\.localhost(:\d+)?/register\?invite=([\w-]{43})$`).FindStringSubmatch(link); m == nil {
		t.Fatalf("link %q", link)
	}
	link = "https://login.localhost:" + port + link[strings.LastIndex(link, "/"):] // the configuration says port 0
	command("invite")
	list := command("invite", "list")
	if strings.Count(list, "\n") != 2 || !strings.Contains(list, "dave@example.org staff") {
		t.Errorf("invite list:\n%s", list)
	}
	for line := range strings.Lines(list) {
		if id, _, _ := strings.Cut(line, " "); !strings.Contains(line, "dave") {
			command("invite", "revoke", id)
		}
	}
	dave := p.person()
	register(t, dave, link, "dave", "correct horse")
	if _, body := visit(t, dave, "https://wiki.alpha.localhost:"+port+"/"); !strings.Contains(body, "You are dave") {
		t.Errorf("dave is invited to staff and sees:\n%s", body)
	}
	p.user("", "group", "remove", "dave", "staff")
	until(t, "dave has left staff", func() bool {
		_, body := visit(t, dave, "https://wiki.alpha.localhost:"+port+"/")
		return !strings.Contains(body, "You are dave")
	})
	var accounts []struct{ Name, Email string }
	if err := json.Unmarshal([]byte(p.user("", "list", "--json")), &accounts); err != nil || len(accounts) != 2 || accounts[0].Email != "dave@example.org" {
		t.Errorf("%+v, %v", accounts, err)
	}

	want := []string{"setup made", "setup used root", "invite used", "invite made", "invite made", "invite revoked", "invite used dave", "groups changed dave"}
	var got []string
	for _, e := range p.audited() {
		got = append(got, strings.TrimSpace(e.Event+" "+e.User))
	}
	text, _ := os.ReadFile(filepath.Join(p.dir, "state", "audit.log"))
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit log:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	access, _ := os.ReadFile(filepath.Join(p.dir, "state", "access.log"))
	for what, log := range map[string]string{"audit": string(text), "access": string(access)} {
		for _, l := range []string{links[0], link} {
			if code := l[strings.LastIndex(l, "=")+1:]; strings.Contains(log, code) {
				t.Errorf("the %s log holds a code", what)
			}
		}
	}
	p.upgrade()
	if n := len(p.logged(inviteLink)); n != 1 {
		t.Errorf("%d links were logged", n)
	}
}

// An htpasswd file becomes accounts, all of it or nothing; a rotated audit log goes on in a new file.
func TestImportCommand(t *testing.T) {
	p := start(t, "edge", twoSites)
	file := filepath.Join(p.dir, "htpasswd")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const bcrypted = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC" // of "myPassword", in Apache's manual
	write("alice:" + bcrypted + "\nbob:plain\n")
	out, code := p.cli("user", "import", file)
	if code != 1 || !strings.Contains(out, "line 2:") || strings.Contains(out, "plain") {
		t.Errorf("%d %s", code, out)
	}
	write("alice:" + bcrypted + "\n")
	wants(t, p.user("", "import", "--dry-run", file), "1 accounts would be made")
	wants(t, p.user("", "import", file), "1 accounts were made")
	audit := filepath.Join(p.dir, "state", "audit.log")
	if err := os.Rename(audit, audit+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	p.waitLog("logs reopened")
	_, port, _ := net.SplitHostPort(p.addr("https"))
	alice, page := p.person(), "https://files.beta.localhost:"+port+"/"
	at, body := visit(t, alice, page)
	if at, body = logIn(t, alice, at, body, "alice", "myPassword"); at.String() != page || !strings.Contains(body, "You are alice") {
		t.Errorf("at %s:\n%s", at, body)
	}
	p.user("", "email", "alice", "alice@example.org")
	text, err := os.ReadFile(audit)
	if err != nil || !strings.Contains(string(text), `"login","user":"alice"`) || !strings.Contains(string(text), `"email changed"`) {
		t.Errorf("after USR1: %v\n%s", err, text)
	}
}

// audited are the lines of the audit log.
func (p *proc) audited() (list []sessions.Entry) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "state", "audit.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e sessions.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			p.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}
