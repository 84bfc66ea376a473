package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edge/edge"
	"edge/edge/serve"
)

// cli runs a command of the program against an edge that runs, and gives what it wrote and how it exited.
func (p *proc) cli(args ...string) (out string, code int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, "edge", append(args, "-c", filepath.Join(p.dir, "edge.toml"))...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		p.t.Errorf("edge %v: %v, %v", args, err, ctx.Err())
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// status is what `edge status --json` says.
func (p *proc) status() (t edge.Tree) {
	p.t.Helper()
	out, code := p.cli("status", "--json")
	if err := json.Unmarshal([]byte(out), &t); err != nil || code != 0 {
		p.t.Fatalf("status exits with %d, %v:\n%s", code, err, out)
	}
	return t
}

const saysOne = "[[vhost]]\nhosts = [\"app.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"one\" }\n"

var saysTwo = strings.Replace(saysOne, "one", "two", 1)

// `edge reload` waits for the verdict: what is in force, that nothing has changed, or every mistake with its line.
func TestReloadCommand(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	if out, code := p.cli("reload"); code != 0 || out != "nothing has changed\n" {
		t.Errorf("a reload of the same exits with %d: %s", code, out)
	}
	write(t, p.dir, config+saysTwo)
	if out, code := p.cli("reload"); code != 0 || !strings.Contains(out, "in force: ") {
		t.Errorf("a good one exits with %d: %s", code, out)
	}
	if got := p.curl("http", "app.localhost", "/"); got != "two" {
		t.Errorf("after it: %q", got)
	}
	for name, test := range map[string]struct{ text, want string }{
		"an unknown key": {config + "[[vhost]]\nhosts = [\"app.localhost\"]\nlisteners = [\"http\"]\nrespnd = 1\n", "respnd = 1\n    ^"},
		"no TOML":        {config + "= =", "= =\n    ^"},
		"a missing file": {config + saysOne + "[[certificate]]\ncert = \"no.pem\"\nkey = \"no.key\"\n", "cert = \"no.pem\"\n           ^"},
	} {
		write(t, p.dir, test.text)
		if out, code := p.cli("reload"); code != 1 || !strings.Contains(out, "nothing has changed") || !strings.Contains(out, test.want) {
			t.Errorf("%s: exits with %d:\n%s", name, code, out)
		}
		if got := p.curl("http", "app.localhost", "/"); got != "two" {
			t.Errorf("after %s: %q", name, got)
		}
		if v := p.status().Generations[0].Reload; v == nil || v.OK || !strings.Contains(v.Mistakes, test.want) {
			t.Errorf("%s: status says %+v", name, v)
		}
	}
}

// A reload that gets stuck in a file ends at its deadline; nothing has changed, the process serves, and stops when told to. Once the file can be read,
// reloads work again.
func TestReloadDeadline(t *testing.T) {
	p := start(t, "edge", config+"[reload]\ndeadline = \"300ms\"\n"+saysOne)
	file := filepath.Join(p.dir, "edge.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one finds the first still reading
		begin := time.Now()
		v, err := edge.AskReload(t.Context(), filepath.Join(p.dir, "state"))
		if err != nil || v.OK || !strings.Contains(v.What, "no end after 300ms") || time.Since(begin) > soon/2 {
			t.Errorf("after %v: %+v, %v", time.Since(begin), v, err)
		}
	}
	p.waitLogs("reload refused: nothing has changed", 2)
	if v, err := edge.AskUpgrade(t.Context(), filepath.Join(p.dir, "state"), edge.UpgradeArgs{}); err != nil || v.OK || !strings.Contains(v.What, "still reads") {
		t.Errorf("an upgrade meanwhile: %+v, %v", v, err)
	}
	if got := p.curl("http", "app.localhost", "/"); got != "one" {
		t.Errorf("meanwhile: %q", got)
	}
	pipe, err := os.OpenFile(file, os.O_WRONLY, 0) // whoever is stuck gets a configuration, which comes too late
	if err != nil {
		t.Fatal(err)
	}
	pipe.WriteString(strings.Replace(string(text), "one", "too late", 1))
	pipe.Close()
	if err := errors.Join(os.Remove(file), os.WriteFile(file, []byte(strings.Replace(string(text), "one", "two", 1)), 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, code := p.cli("reload"); code != 0 {
		t.Errorf("once the file can be read: %d, %s", code, out)
	}
	if got := p.curl("http", "app.localhost", "/"); got != "two" {
		t.Errorf("after it: %q", got)
	}
}

// Everybody who asks for a reload gets the verdict of one that began after the ask, however many ask.
func TestManyReloads(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	dir := filepath.Join(p.dir, "state")
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			if v, err := edge.AskReload(t.Context(), dir); err != nil || !v.OK {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
	asking.Wait()
	write(t, p.dir, "no TOML")
	for range 20 {
		asking.Go(func() {
			if v, err := edge.AskReload(t.Context(), dir); err != nil || v.OK {
				t.Errorf("of a file that is broken: %+v, %v", v, err)
			}
		})
	}
	asking.Wait()
}

// Whichever of its files changes, a reload takes it in; and one of the same files never does.
func TestEveryInputCounts(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const hash = "$2a$04$xkVAVx5OwI.xFI2a0h6G8eFBNZJtyr8r1xGEZAaNbB0wBQhTmsnLC"
	put("passwords", "ann:"+hash+"\n")
	put("404.html", "none here\n")
	put("site.toml", "[[vhost]]\nhosts = [\"b.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"b\" }\n")
	authority(t, nil).put(t, filepath.Join(dir, "ca.pem"))
	p := startIn(t, dir, "edge", "include = \"site.toml\"\n"+config+`
[[upstream]]
name = "u"
targets = ["https://127.0.0.1:1"]
tls.ca = "ca.pem"
[[vhost]]
hosts = ["app.localhost"]
listeners = ["https"]
proxy = "u"
basic_auth = { file = "passwords", realm = "x" }
error_pages = { "404" = "404.html" }
`)
	same := func(after string) {
		t.Helper()
		if out, _ := p.cli("reload"); out != "nothing has changed\n" {
			t.Errorf("after %s, a reload of the same: %s", after, out)
		}
	}
	same("the start")
	for name, text := range map[string]string{
		"passwords": "bob:" + hash + "\n", "404.html": "nothing here\n", "ca.pem": "",
		"site.toml": "[[vhost]]\nhosts = [\"b.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"c\" }\n",
	} {
		if put(name, text); text == "" {
			authority(t, nil).put(t, filepath.Join(dir, name))
		}
		if out, code := p.cli("reload"); code != 0 || !strings.Contains(out, "in force") {
			t.Errorf("%s has changed: %d, %s", name, code, out)
		}
		same(name)
	}
	if err := os.RemoveAll(filepath.Join(dir, "certs")); err != nil {
		t.Fatal(err)
	}
	if out, _ := p.cli("reload"); !strings.Contains(out, "in force") {
		t.Errorf("the development certificates are gone: %s", out)
	}
	same("they were made again")
}

// `edge upgrade` waits for the verdict; --exec goes on as another program, and the one before it is remembered.
func TestUpgradeCommand(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	first := p.pid()
	if out, code := p.cli("upgrade"); code != 0 || !strings.Contains(out, "has taken over") || p.pid() == first {
		t.Errorf("exits with %d, process %d, was %d: %s", code, p.pid(), first, out)
	}
	if v := p.status().Generations; v[len(v)-1].Upgrade == nil || !v[len(v)-1].Upgrade.OK {
		t.Errorf("status: %+v", v)
	}
	self, err := exec.LookPath("edge")
	if err != nil {
		t.Fatal(err)
	}
	other, err := exec.LookPath("edge-onegoaway")
	if err != nil {
		t.Fatal(err)
	}
	second := p.pid()
	for name, bad := range map[string]string{"a program that ends": "/bin/false", "a program that hears nothing": "/bin/true"} {
		if out, code := p.cli("upgrade", "--exec", bad); code != 1 || !strings.Contains(out, "nothing has changed") || p.pid() != second {
			t.Errorf("%s: exits with %d: %s", name, code, out)
		}
	}
	if out, code := p.cli("upgrade", "--exec", other); code != 0 {
		t.Fatalf("--exec exits with %d: %s", code, out)
	}
	if exe, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid())); !strings.HasPrefix(string(exe), other+"\x00") {
		t.Errorf("%q runs, want %s", exe, other)
	}
	if tree := p.status(); tree.Program != other || tree.Previous != self {
		t.Errorf("program %s, before it %s", tree.Program, tree.Previous)
	}
	third := p.pid()
	if out, code := p.cli("upgrade"); code != 0 || p.status().Program != other || p.pid() == third {
		t.Errorf("the next upgrade: %d, %s, %s", code, p.status().Program, out)
	}
}

// Nothing hangs where nobody answers.
func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	p := &proc{t: t, dir: dir}
	write(t, dir, config)
	for _, args := range [][]string{{"reload", "--timeout", "300ms"}, {"upgrade", "--timeout", "300ms"}, {"status"}} {
		if out, code := p.cli(args...); code != 1 || !strings.HasPrefix(out, "edge: ") {
			t.Errorf("%v exits with %d: %s", args, code, out)
		}
	}
	r := start(t, "edge", config+saysOne)
	syscall.Kill(r.pid(), syscall.SIGSTOP)
	defer syscall.Kill(r.pid(), syscall.SIGCONT)
	for _, args := range [][]string{{"reload", "--timeout", "300ms"}, {"upgrade", "--timeout", "300ms"}} {
		if out, code := r.cli(args...); code != 1 || !strings.Contains(out, "no verdict after 300ms") {
			t.Errorf("%v of a process that hangs exits with %d: %s", args, code, out)
		}
	}
	if st := r.status(); !slices.Equal(st.Silent, []int{r.pid()}) {
		t.Errorf("status of a process that hangs: %+v", st)
	}
}

// Status tells of every generation: what a draining one waits for, the listeners, tunnels and certificates of the one that serves; and the account adds up.
func TestStatusCommand(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	p := start(t, "edge", config+saysOne+"[[listener]]\nname = \"db\"\naddress = \"127.0.0.2:0\"\nprotocol = \"tcp\"\nproxy = \"tcp://"+ln.Addr().String()+"\"\n")
	tunnel := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", p.addr("db"))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(soon))
		io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := tunnel()
	defer old.Close()
	first := p.pid()
	if out, code := p.cli("upgrade"); code != 0 {
		t.Fatal(out)
	}
	young := tunnel()
	defer young.Close()
	until(t, "the old process drains", func() bool { return p.status().Generations[0].Phase == "draining" })
	st := p.status()
	if len(st.Generations) != 2 || st.Generations[0].PID != first || st.Generations[0].Generation != 1 || st.Generations[0].Waits != "connections: 1, of them tunnels: db 1" {
		t.Errorf("the generation that drains: %+v", st.Generations)
	}
	now := st.Generations[1]
	if now.PID != p.pid() || now.Phase != "serving" || len(now.Listeners) != 3 || !slices.Contains(now.Listeners, edge.Listening{Listener: "db", Protocol: "tcp", Address: p.addr("db")}) {
		t.Errorf("the one that serves: %+v", now)
	}
	if !slices.Equal(now.Tunnels, []edge.Tunnels{{Listener: "db", Kind: "tcp", Open: 1}}) || !slices.Contains(now.Connections, edge.Connections{Listener: "db", Protocol: "tcp", State: "tunnel", Open: 1}) {
		t.Errorf("tunnels %+v, connections %+v", now.Tunnels, now.Connections)
	}
	if len(now.Certificates) == 0 || now.Certificates[0].NotAfter.Before(time.Now()) {
		t.Errorf("certificates: %+v", now.Certificates)
	}
	if a := st.Account; a.Open != 2 || a.Opened != serve.Sum(a.Finished)+uint64(a.Open)+serve.Sum(a.Cut) {
		t.Errorf("account: %+v", a)
	}
	out, code := p.cli("status")
	for _, want := range []string{"generation 1: ", "generation 2: ", "waits for    connections: 1", "listens      db tcp ", "tunnels      db tcp 1", "certificate  ", "last upgrade done", "account: opened "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exits with %d and does not say %q:\n%s", code, want, out)
		}
	}
	old.Close()
	until(t, "the old process has ended", func() bool { return len(p.status().Generations) == 1 })
	if left, _ := filepath.Glob(filepath.Join(p.dir, "state", "control-*.sock")); len(left) != 1 {
		t.Errorf("control sockets: %v", left)
	}
}

// --watch looks again.
func TestWatch(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "edge", "status", "--watch", "--json", "-c", filepath.Join(p.dir, "edge.toml"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for in, n := json.NewDecoder(out), 0; n < 2; n++ {
		var tree edge.Tree
		if err := in.Decode(&tree); err != nil || len(tree.Generations) != 1 {
			t.Fatalf("look %d: %+v, %v", n, tree, err)
		}
	}
	cancel()
	cmd.Wait()
}

// The control socket passes from process to process while clients ask all the time; none goes without an answer.
func TestControlPasses(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	dir := filepath.Join(p.dir, "state")
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if v, err := edge.AskReload(t.Context(), dir); err != nil || !v.OK {
					t.Errorf("%+v, %v", v, err)
				}
			}
		})
	}
	for range 5 {
		p.signalUpgrade()
	}
	cancel()
	clients.Wait()
	if info, err := os.Lstat(filepath.Join(dir, "control.sock")); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// signalUpgrade asks until an upgrade is done: while another change runs it is refused.
func (p *proc) signalUpgrade() {
	p.t.Helper()
	until(p.t, "an upgrade", func() bool {
		v, err := edge.AskUpgrade(p.t.Context(), filepath.Join(p.dir, "state"), edge.UpgradeArgs{})
		return err == nil && v.OK
	})
}
