package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tour brings the tab to every page of a login as startDressed starts it, where alice has an account, and has see look at each.
func (tab *tab) tour(p *proc, see func(name string)) {
	tab.t.Helper()
	tab.tourOfStrangers(p, see)
	tab.open(p.url(loginHost, "/login"))
	tab.fill("alice", password)
	tab.tourOfAccount(p, see)
	secret := tab.tourOfFactors(p, see)

	tab.open(p.url(vaultHost, "/"))
	tab.open(p.url(vaultHost, "/.edge/logout"))
	see("log-out")
	tab.press()
	see("logged-out")
	tab.open(p.url(vaultHost, "/"))
	see("login-passkey")
	tab.fill("alice", newPassword)
	see("second-factor")
	tab.inChinese(see, "second-factor-zh")
	tab.give("000000")
	see("second-factor-wrong")
	tab.give(codeAt(tab.t, secret, 1))
	tab.sees(p.url(vaultHost, "/"), aliceEcho)
}

const newPassword = "staple battery horse"

func (tab *tab) inChinese(see func(name string), name string) {
	tab.t.Helper()
	tab.language("zh-CN")
	see(name)
	tab.language("en")
}

// tourOfStrangers goes to the pages of who is not signed in.
func (tab *tab) tourOfStrangers(p *proc, see func(name string)) {
	tab.t.Helper()
	login := func(rest string) string { return p.url(loginHost, rest) }
	tab.open(login("/"))
	see("start")
	tab.open(p.url(wikiHost, "/"))
	see("login")
	tab.inChinese(see, "login-zh")
	tab.fill("alice", "wrong horse battery")
	see("login-wrong")
	tab.open(login("/register"))
	see("register")
	tab.open(login("/login?f=damaged"))
	see("link-not-valid")
	tab.open(login("/nothing"))
	see("nothing-here")
	tab.open("data:text/html,<form method=post action='" + login("/login") + "'><button>x</button></form>")
	tab.load(chromedp.Click(chromedp.CSS("button")))
	see("form-refused")
	tab.open(p.url(wikiHost, "/.edge/auth/callback?code=x&flow=y"))
	see("login-not-completed")
	guess := login("/register?invite=guessed")
	tab.open(guess)
	see("invitation-not-valid")
	until(tab.t, "too many codes were guessed", func() bool { return tab.open(guess) == 429 })
	see("please-wait")
}

// tourOfAccount goes to those of alice, who changes her password.
func (tab *tab) tourOfAccount(p *proc, see func(name string)) {
	tab.t.Helper()
	see("account")
	tab.inChinese(see, "account-zh")
	tab.send("#password button", "current", "wrong horse battery", "new", newPassword, "again", newPassword)
	see("account-wrong-password")
	tab.send("#password button", "current", password, "new", newPassword, "again", newPassword)
	see("account-password-changed")
	tab.open(p.url(filesHost, "/secret"))
	see("not-for-you")
}

// tourOfFactors goes to those of second factors, of which alice gets two, and gives the secret of one.
func (tab *tab) tourOfFactors(p *proc, see func(name string)) (secret string) {
	tab.t.Helper()
	tab.authenticator()
	const noOffer = "PublicKeyCredential.isConditionalMediationAvailable = async () => false" // which would log in by itself
	if _, err := chromedp.Call(tab.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: noOffer}); err != nil {
		tab.t.Fatal(err)
	}
	tab.open(p.url(vaultHost, "/"))
	see("second-factor-needed")
	tab.load(chromedp.Click(chromedp.CSS("main a.button")))
	see("totp-new")
	tab.inChinese(see, "totp-new-zh")
	secret = evaluate[string](tab, `document.getElementById("secret").innerText`)
	tab.give(codeAt(tab.t, secret, 0)) // which is good for a while yet, should the next half minute begin now
	see("recovery-codes")
	tab.open(p.url(loginHost, "/account/totp"))
	see("totp")
	tab.open(p.url(loginHost, "/account/passkeys"))
	see("passkeys-new")
	if err := chromedp.Do(tab.ctx, chromedp.SendKeys(chromedp.ID("name"), "My phone")); err != nil {
		tab.t.Fatal(err)
	}
	tab.press()
	tab.open(p.url(loginHost, "/account/passkeys"))
	see("passkeys")
	tab.inChinese(see, "passkeys-zh")
	tab.open(p.url(loginHost, "/account"))
	see("account-factors")
	return secret
}

// Every page fits the smallest of phones, is dark for those who like that, tells a screen reader what its parts are, and is gone through with
// the keyboard alone by who sees where it is.
func TestEveryPage(t *testing.T) {
	p := startDressed(t, "")
	p.user(password, "add", "alice")
	p.logInAs(strings.Repeat("unbroken", 20)+" Firefox/1 Linux", "alice")
	tab := openBrowser(t).tab()
	tab.tour(p, func(name string) {
		t.Helper()
		tab.wantNarrow(name)
		tab.wantNames(name)
		tab.wantKeyboard(name)
	})
}

// wantNarrow fails if one has to scroll sideways on a screen of 320 points, or does not get dark by night.
func (tab *tab) wantNarrow(name string) {
	tab.t.Helper()
	var grounds []string
	for _, scheme := range []string{"light", "dark"} {
		tab.look(320, 480, scheme)
		if wide := evaluate[int](tab, "document.documentElement.scrollWidth"); wide > 320 {
			tab.t.Errorf("%s is %d wide on a screen of 320", name, wide)
		}
		grounds = append(grounds, evaluate[string](tab, "getComputedStyle(document.body).backgroundColor"))
	}
	if want := []string{"rgb(255, 255, 255)", "rgb(27, 31, 40)"}; !slices.Equal(grounds, want) {
		tab.t.Errorf("%s stands on %q, want %q", name, grounds, want)
	}
}

// named are the roles of what needs a name of its own: what one can use, and what is seen only.
var named = map[string]bool{
	"button": true, "link": true, "textbox": true, "searchbox": true, "checkbox": true, "combobox": true, "DisclosureTriangle": true,
	"image": true, "heading": true, "region": true,
}

// wantNames fails unless the page has a title, a language, one main part and one heading of the first rank, and a name for each part that needs
// one, which says which of its kind it is.
func (tab *tab) wantNames(name string) {
	tab.t.Helper()
	tree, err := chromedp.Call(tab.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		tab.t.Fatal(err)
	}
	seen := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		role, called := text(n.Role), text(n.Name)
		if role == "main" {
			called = ""
		}
		seen[role+" "+called]++
		if role == "RootWebArea" && called == "" || named[role] && strings.TrimSpace(called) == "" {
			tab.t.Errorf("%s: a screen reader has no name for a %s", name, role)
		}
		if named[role] && seen[role+" "+called] == 2 {
			tab.t.Errorf("%s: a screen reader cannot tell one %s %q from the other", name, role, called)
		}
	}
	if seen["main "] != 1 || evaluate[int](tab, `document.querySelectorAll("h1").length`) != 1 || evaluate[string](tab, "document.documentElement.lang") == "" {
		tab.t.Errorf("%s lacks its main part, heading or language: %v", name, seen)
	}
}

// text is what a value of the accessibility tree says.
func text(v *accessibility.Value) (s string) {
	if v != nil {
		json.Unmarshal(v.Value, &s) // not of a string: ""
	}
	return s
}

// wantKeyboard fails unless the tabulator goes to all that one can use, in its order, and one sees where it is.
func (tab *tab) wantKeyboard(name string) {
	tab.t.Helper()
	usable := evaluate[[]string](tab, `
		window.called = e => (e.id || e.innerText || e.tagName) + (getComputedStyle(e).outlineStyle == "none" ? " unseen" : "");
		window.visited = [];
		document.body.tabIndex = -1;
		document.body.focus();
		document.body.removeAttribute("tabindex");
		document.addEventListener("focusin", e => visited.push(called(e.target)));
		Array.from(document.querySelectorAll("a[href], button, input, summary")).filter(e => e.type != "hidden" && e.tabIndex >= 0 && e.checkVisibility()).map(e => e.id || e.innerText || e.tagName)`)
	keys := slices.Repeat([]chromedp.Action[chromedp.Void]{chromedp.KeyEvent(kb.Tab)}, len(usable))
	if err := chromedp.Do(tab.ctx, keys...); err != nil {
		tab.t.Fatal(err)
	}
	if visited := evaluate[[]string](tab, "visited"); !slices.Equal(visited, usable) {
		tab.t.Errorf("%s: the keyboard goes to %q, want %q", name, visited, usable)
	}
}
