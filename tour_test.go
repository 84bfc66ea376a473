package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
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

// goneProviders are two that do not answer.
const goneProviders = `
[[login.provider]]
name = "corp"
title = "Corp & Co"
issuer = "https://127.0.0.1:1"
client_id = "edge"
client_secret = "s3cret"
allowed_domains = ["corp.test"]
[[login.provider]]
name = "club"
title = "The Chess Club"
issuer = "https://127.0.0.1:1/club"
client_id = "edge"
client_secret = "s3cret"
allowed_domains = ["club.test"]
`

// tourOfProviders brings the tab to the pages that goneProviders make differ, where alice has an account, and has see look at each. At its end nobody logs in
// by password any more.
func (tab *tab) tourOfProviders(p *proc, see func(name string)) {
	tab.t.Helper()
	press := func(selector string) int64 { return tab.load(chromedp.Click(chromedp.CSS(selector))) }
	tab.open(p.url(wikiHost, "/"))
	see("login-providers")
	tab.inChinese(see, "login-providers-zh")
	press(`form[action="/oidc/corp"] button`)
	see("login-provider-down")
	tab.fill("alice", password)
	p.user("", "link", "alice", "corp", "sub-1")
	tab.open(p.url(loginHost, "/account"))
	see("account-providers")
	tab.inChinese(see, "account-providers-zh")
	press("#link-club")
	see("account-provider-down")
	press("#unlink-corp")
	see("account-unlinked")

	p.user("", "link", "alice", "corp", "sub-1")
	p.user("", "link", "alice", "club", "sub-1")
	tab.open(p.url(loginHost, "/account"))
	see("account-linked-twice")
	press("#unlink-club")
	p.elsewhere()
	tab.open(p.url(loginHost, "/account"))
	press("#unlink-corp")
	tab.sees(p.url(loginHost, "/account/oidc/corp/unlink"), "you could not log in any more")
	see("account-last-way")
	tab.load(chromedp.Click(chromedp.CSS("button.danger")))
	tab.open(p.url(wikiHost, "/"))
	see("login-elsewhere")
}

// elsewhere reloads an edge as startDressed starts it as one where nobody logs in by password.
func (p *proc) elsewhere() {
	p.t.Helper()
	file := filepath.Join(p.dir, "edge.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("registration = \"open\""), []byte("local = false"), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.reload()
}

// Every page fits the smallest of phones, is dark for those who like that, tells a screen reader what its parts are, and is gone through with
// the keyboard alone by who sees where it is.
func TestEveryPage(t *testing.T) {
	p := startDressed(t, "")
	p.user(password, "add", "alice")
	p.logInAs(strings.Repeat("unbroken", 20)+" Firefox/1 Linux", "alice")
	tab := openBrowser(t).tab()
	tab.tour(p, tab.wantAll)
}

// So are those that differ where there are providers, and they ask nobody else for anything.
func TestEveryPageOfProviders(t *testing.T) {
	p := startDressed(t, goneProviders)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	tab.tourOfProviders(p, tab.wantAll)
	b.wantOrigins(p.url(loginHost, ""), p.url(wikiHost, ""))
}

func (tab *tab) wantAll(name string) {
	tab.t.Helper()
	tab.wantNarrow(name)
	tab.wantContrast(name)
	tab.wantNames(name)
	tab.wantKeyboard(name)
}

// wantContrast fails if some text does not stand out from what is behind it, by day or by night (WCAG 2.2, 1.4.3: 4.5 to 1), or the edge of what one can use
// does not (1.4.11: 3 to 1).
func (tab *tab) wantContrast(name string) {
	tab.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		tab.look(1100, 760, scheme)
		faint := evaluate[[]string](tab, `(() => {
			const parts = c => c.match(/[\d.]+/g).map(Number);
			const clear = c => c == "transparent" || parts(c)[3] === 0;
			const behind = e => { while (e && clear(getComputedStyle(e).backgroundColor)) e = e.parentElement; return e ? getComputedStyle(e).backgroundColor : "rgb(255, 255, 255)"; };
			const light = c => { const [r, g, b] = parts(c).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
			const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
			const all = Array.from(document.body.querySelectorAll("*")).filter(e => e.checkVisibility());
			const said = e => Array.from(e.childNodes).some(n => n.nodeType == Node.TEXT_NODE && n.data.trim());
			const texts = all.filter(said).filter(e => contrast(getComputedStyle(e).color, behind(e)) < 4.5);
			const edges = all.filter(e => e.matches("input, button, .button") && clear(getComputedStyle(e).backgroundColor) && contrast(getComputedStyle(e).borderTopColor, behind(e.parentElement)) < 3);
			return texts.concat(edges).map(e => (e.innerText || e.id) + " " + getComputedStyle(e).color + " on " + behind(e));
		})()`)
		if len(faint) > 0 {
			tab.t.Errorf("%s by %s is hard to read: %q", name, scheme, faint)
		}
	}
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
