package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Who has switched scripts off logs in, changes the password and logs out, everywhere.
func TestPagesWithoutScript(t *testing.T) {
	p := startDressed(t, "title = \"Example Ltd\"\n")
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	tab.open(p.url(loginHost, "/login"))
	if _, err := chromedp.Call(tab.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	tab.open(p.url(wikiHost, "/x"))
	tab.sees(p.url(loginHost, "/login"), "Example Ltd", "Log in")
	tab.fill("alice", password)
	tab.sees(p.url(wikiHost, "/x"), aliceEcho)
	tab.open(p.url(loginHost, "/account"))
	tab.send("#password button", "current", password, "new", "staple battery horse", "again", "staple battery horse")
	tab.sees(p.url(loginHost, "/account"), "Your password has been changed", "This browser")
	tab.load(chromedp.Click(chromedp.CSS("button.danger")))
	tab.sees(p.url(loginHost, "/logged-out"), "Logged out")
	tab.open(p.url(wikiHost, "/x"))
	tab.fill("alice", "staple battery horse")
	tab.sees(p.url(wikiHost, "/x"), aliceEcho)
	b.wantErrors()
	b.wantOrigins(p.url(loginHost, ""), p.url(wikiHost, ""))
}

// focus is where the keyboard is: by id, name or text; and whether that can be seen.
const focus = `(e => e == document.body ? "" : (e.id || e.innerText || e.tagName) + (getComputedStyle(e).outlineStyle == "none" ? " unseen" : ""))(document.activeElement)`

// tabs presses the tabulator until the keyboard is where it was, or out of the page, and gives where it went.
func (tab *tab) tabs() (order []string) {
	tab.t.Helper()
	for range 30 {
		at := evaluate[string](tab, focus)
		if at == "" || slices.Contains(order, at) {
			return order
		}
		order = append(order, at)
		if err := chromedp.Do(tab.ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
			tab.t.Fatal(err)
		}
	}
	return order
}

// The keyboard goes through every page from the top down, and one sees where it is.
func TestPagesByKeyboard(t *testing.T) {
	p := startDressed(t, "")
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	wantOrder := func(want ...string) {
		t.Helper()
		if got := tab.tabs(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tab.location(), got, want)
		}
	}
	tab.open(p.url(loginHost, "/login"))
	wantOrder("name", "password", "Log in", "Register")
	tab.open(p.url(loginHost, "/login"))
	tab.fill("alice", "wrong horse battery")
	wantOrder("password", "Log in", "Register") // the name is there already
	if said := evaluate[string](tab, `document.getElementById(document.getElementById("name").getAttribute("aria-describedby")).innerText`); !strings.HasPrefix(said, "Sorry") {
		t.Errorf("a screen reader says %q of the name", said)
	}
	tab.open(p.url(loginHost, "/login"))
	if err := chromedp.Do(tab.ctx, chromedp.KeyEvent("alice"+kb.Tab+password)); err != nil {
		t.Fatal(err)
	}
	tab.load(chromedp.KeyEvent(kb.Enter))
	tab.sees(p.url(loginHost, "/account"), "Your account")
	if err := chromedp.Do(tab.ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
		t.Fatal(err)
	}
	order := tab.tabs()
	if len(order) > 1 && strings.HasPrefix(order[1], "end-") {
		order[1] = "end"
	}
	if want := []string{"Log out", "end", "Log out everywhere", "current", "new", "again", "Change password"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	b.wantErrors("status of 403")
}

// Pages fit the smallest of phones, and are dark for those who like that.
func TestPagesFitEveryScreen(t *testing.T) {
	p := startDressed(t, "color = \"#ffd400\"\n")
	p.user(password, "add", "alice")
	p.logInAs(strings.Repeat("unbroken", 20)+" Firefox/1 Linux", "alice")
	b := openBrowser(t)
	tab := b.tab()
	tab.open(p.url(loginHost, "/login"))
	tab.fill("alice", password)
	for _, path := range []string{"/account", "/logged-out", "/nothing"} {
		tab.open(p.url(loginHost, path))
		var grounds []string
		for _, scheme := range []string{"light", "dark"} {
			tab.look(320, 480, scheme)
			if wide := evaluate[int](tab, "document.documentElement.scrollWidth"); wide > 320 {
				t.Errorf("%s is %d wide on a screen of 320", path, wide)
			}
			grounds = append(grounds, evaluate[string](tab, "getComputedStyle(document.body).backgroundColor"))
		}
		if want := []string{"rgb(255, 255, 255)", "rgb(27, 31, 40)"}; !slices.Equal(grounds, want) {
			t.Errorf("%s stands on %q, want %q", path, grounds, want)
		}
	}
	tab.open(p.url(loginHost, "/account"))
	if got := evaluate[string](tab, `(s => s.backgroundColor + s.color)(getComputedStyle(document.querySelector("#password button")))`); got != "rgb(255, 212, 0)rgb(16, 20, 29)" {
		t.Errorf("a button of a light color is %s", got)
	}
	b.wantErrors("status of 404")
	b.wantOrigins(p.url(loginHost, ""))
}
