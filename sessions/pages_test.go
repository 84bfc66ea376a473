package sessions

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// rendered are all pages in all languages, with much and with little to show.
func rendered(t *testing.T, theme *Theme) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name := range theme.pages {
		for i, v := range samples {
			for _, l := range languages {
				v.language = l
				v.dress(theme)
				text, err := theme.pages.render(name, v)
				if err != nil {
					t.Fatal(err)
				}
				all[fmt.Sprintf("%s %d %s", name, i, l.Lang)] = string(text)
			}
		}
	}
	if len(all) < 40 {
		t.Fatalf("%d pages", len(all))
	}
	return all
}

// Every page in every language is well-formed HTML that a keyboard, a screen reader and a strict Content-Security-Policy are content with.
func TestPagesAreSound(t *testing.T) {
	for name, text := range rendered(t, plain) {
		for _, wrong := range faults(text) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
}

// The test above finds what it looks for.
func TestFaults(t *testing.T) {
	good := `<!doctype html><html lang="en"><head><title>T</title></head><body><main><h1>H</h1></main></body></html>`
	if got := faults(good); got != nil {
		t.Errorf("%q", got)
	}
	for body, want := range map[string]string{
		`<p>`:                                   "</main> closes <p>",
		`<p><b></p></b>`:                        "</p> closes <b>",
		`<p id="a"></p><p id="a"></p>`:          `two elements with id "a"`,
		`<input id="a">`:                        `no label for input "a"`,
		`<p aria-describedby="x y"></p>`:        `aria-describedby names no element: "x"`,
		`<label for="q"></label>`:               `for names no element: "q"`,
		`<p style="x"></p>`:                     `<p style>`,
		`<a onclick="x" href="/">a</a>`:         `<a onclick>`,
		`<script></script>`:                     "<script>",
		`<script src="/passkey.js">x</script>`:  "<script>",
		`<img src="/x">`:                        "<img> without alt",
		`<a href="https://evil.example/">a</a>`: `<a> leads to "https://evil.example/"`,
		`<form action="/x"></form>`:             "<form> is not sent by post",
		`<button></button>`:                     "<button> says nothing",
		`<h1>again</h1>`:                        "2 <h1>",
	} {
		if got := faults(strings.Replace(good, "</main>", body+"</main>", 1)); !slices.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

var void = []string{"meta", "link", "img", "input", "br"}

// faults says what is wrong with a page.
func faults(text string) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var open []string
	for z := html.NewTokenizer(strings.NewReader(text)); z.Next() != html.ErrorToken; {
		switch token := z.Token(); token.Type {
		case html.StartTagToken:
			if !slices.Contains(void, token.Data) {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				say("</%s> closes <%s>", token.Data, last(open))
			}
			open = open[:max(0, len(open)-1)]
		}
	}
	for _, tag := range open {
		say("<%s> is not closed", tag)
	}
	root, err := html.Parse(strings.NewReader(text))
	if err != nil || !strings.HasPrefix(text, "<!doctype html>\n") && !strings.HasPrefix(text, "<!doctype html><") {
		say("no HTML: %v", err)
	}
	ids, labels, headings := map[string]bool{}, map[string]bool{}, 0
	for n := range root.Descendants() {
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				say("two elements with id %q", id)
			}
			ids[id] = true
		}
		labels[attr(n, "for")] = true
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				say("<%s %s>", n.Data, a.Key)
			}
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")) {
				say("<%s> leads to %q", n.Data, a.Val)
			}
			if slices.Contains([]string{"aria-describedby", "aria-labelledby", "for"}, a.Key) {
				for _, id := range strings.Fields(a.Val) {
					if !ids[id] {
						say("%s names no element: %q", a.Key, id)
					}
				}
			}
		}
		switch n.DataAtom {
		case atom.Html:
			if attr(n, "lang") == "" {
				say("<html> without lang")
			}
		case atom.Title, atom.Button, atom.A, atom.H1, atom.H2, atom.Label:
			if strings.TrimSpace(textOf(n)) == "" {
				say("<%s> says nothing", n.Data)
			}
			if n.DataAtom == atom.H1 {
				headings++
			}
		case atom.Input:
			if attr(n, "type") != "hidden" && !labels[attr(n, "id")] {
				say("no label for input %q", attr(n, "id"))
			}
		case atom.Img:
			if !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "alt" }) {
				say("<img> without alt")
			}
		case atom.Form:
			if attr(n, "method") != "post" {
				say("<form> is not sent by post")
			}
		case atom.Script:
			if attr(n, "src") != "/passkey.js" || n.FirstChild != nil {
				say("<script>")
			}
		case atom.Style, atom.Iframe, atom.Object:
			say("<%s>", n.Data)
		}
	}
	if headings != 1 {
		say("%d <h1>", headings)
	}
	return wrong
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// What password managers look for is where they look for it.
func TestPasswordManagers(t *testing.T) {
	v := samples[1]
	for page, fields := range map[string][]string{
		"login":    {"name username webauthn", "password current-password"},
		"register": {"name username", "password new-password"},
		"account":  {"username username", "current current-password", "new new-password", "again new-password"},
	} {
		text, err := builtIn.render(page, v)
		if err != nil {
			t.Fatal(err)
		}
		root, _ := html.Parse(strings.NewReader(string(text)))
		var got []string
		for n := range root.Descendants() {
			if n.DataAtom == atom.Input && attr(n, "type") != "hidden" {
				got = append(got, attr(n, "id")+" "+attr(n, "autocomplete"))
			}
		}
		if !slices.Equal(got, fields) {
			t.Errorf("%s: %q, want %q", page, got, fields)
		}
	}
}

// 40: neither what was typed nor what a browser says of itself nor how the pages are to look is markup.
func TestNothingIsMarkup(t *testing.T) {
	const evil = `"><script>alert(1)</script><x y='`
	w := newWorld(t)
	w.conf.Title, w.conf.Color = evil, "#3557d4"
	theme, wrong := NewTheme(w.conf)
	if wrong != nil {
		t.Fatal(wrong)
	}
	w.Dressed(theme)
	b := w.browser()
	b.accept, b.agent, b.referer = evil, evil, "https://evil.example/"+evil
	form := b.get("https://" + wiki + "/" + "?q=x")
	pages := []page{form, b.fill(form, evil, "x"), b.get("https://" + loginHost + "/login?f=%22%3E%3Cscript%3E"), b.get("https://" + wiki + "/.edge/%22%3E%3Cscript%3E")}
	b.fill(form, "alice", "correct horse")
	pages = append(pages, b.account(), b.get("https://"+loginHost+accountPath+"?done=%22%3E%3Cscript%3E"))
	for _, p := range pages {
		ours := strings.Replace(p.body, `<script src="/passkey.js" defer></script>`, "", 1)
		if strings.Contains(ours, "<script") || strings.Contains(p.body, "<x ") || !strings.Contains(p.body, "&lt;script&gt;") {
			t.Errorf("%s: %s", p.url, p.body)
		}
		csp := p.header.Get("Content-Security-Policy")
		if !regexp.MustCompile(`^default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; (script-src 'self'; connect-src 'self'; )?form-action 'self'( https:\S*)?$`).MatchString(csp) {
			t.Errorf("%s: %s", p.url, csp)
		}
		for _, wrong := range faults(p.body) {
			t.Errorf("%s: %s", p.url, wrong)
		}
	}
}
