package main

import (
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

// So does who links and unlinks accounts elsewhere.
func TestProvidersWithoutScript(t *testing.T) {
	p := startDressed(t, goneProviders)
	p.user(password, "add", "alice")
	p.user("", "link", "alice", "corp", "sub-1")
	b := openBrowser(t)
	tab := b.tab()
	tab.open(p.url(loginHost, "/login"))
	if _, err := chromedp.Call(tab.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	tab.open(p.url(wikiHost, "/x"))
	if status := tab.load(chromedp.Click(chromedp.CSS(`form[action="/oidc/club"] button`))); status != 503 {
		t.Errorf("a provider that has gone: %d", status)
	}
	tab.sees(p.url(loginHost, "/oidc/club"), "The Chess Club", "the other site does not answer", "Log in with Corp & Co")
	tab.fill("alice", password)
	tab.sees(p.url(wikiHost, "/x"), aliceEcho)
	tab.open(p.url(loginHost, "/account"))
	tab.load(chromedp.Click(chromedp.ID("link-club")))
	tab.sees(p.url(loginHost, "/account/oidc/club"), "The Chess Club", "the other site does not answer")
	tab.load(chromedp.Click(chromedp.ID("unlink-corp")))
	tab.sees(p.url(loginHost, "/account"), "does not open this one any more")
	if out := p.user("", "unlink", "alice", "corp"); !strings.Contains(out, "0 links removed") {
		t.Errorf("unlink: %s", out)
	}
	b.wantErrors("status of 503", "status of 503")
	b.wantOrigins(p.url(loginHost, ""), p.url(wikiHost, ""))
}

// A person who uses the keyboard alone logs in, and hears why that was refused. A button of a light color has dark letters.
func TestPagesByKeyboard(t *testing.T) {
	p := startDressed(t, "color = \"#ffd400\"\n")
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	tab.open(p.url(loginHost, "/login"))
	tab.fill("alice", "wrong horse battery")
	if at := evaluate[string](tab, "document.activeElement.id"); at != "password" { // the name is there already
		t.Errorf("the keyboard is at %q", at)
	}
	if said := evaluate[string](tab, `document.getElementById(document.getElementById("name").getAttribute("aria-describedby")).innerText`); !strings.HasPrefix(said, "Sorry") {
		t.Errorf("a screen reader says %q of the name", said)
	}
	tab.open(p.url(loginHost, "/login"))
	until(t, "the keyboard is at the name", func() bool { return evaluate[string](tab, "document.activeElement.id") == "name" })
	if err := chromedp.Do(tab.ctx, chromedp.KeyEvent("alice"+kb.Tab+password)); err != nil {
		t.Fatal(err)
	}
	tab.load(chromedp.KeyEvent(kb.Enter))
	tab.sees(p.url(loginHost, "/account"), "Your account")
	if got := evaluate[string](tab, `(s => s.backgroundColor + s.color)(getComputedStyle(document.querySelector("#password button")))`); got != "rgb(255, 212, 0)rgb(16, 20, 29)" {
		t.Errorf("a button of a light color is %s", got)
	}
	b.wantErrors("status of 403")
}
