package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"
)

const vaultHost = "vault.gamma.test"

// startVault starts an edge with a host that needs a login and one that needs a second factor.
func startVault(t *testing.T) *proc {
	t.Helper()
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "test.pem"), loginHost, wikiHost, vaultHost)
	return startIn(t, dir, "edge", config+fmt.Sprintf(`
[[certificate]]
cert = "test.pem"
key = "test.pem"
[[vhost]]
hosts = [%q]
access = "login"
echo = true
[[vhost]]
hosts = [%q]
access = "login"
require = "second_factor"
echo = true
[login]
host = %q
`, wikiHost, vaultHost, loginHost))
}

// authenticator gives the tab a passkey's authenticator, whose owner is there.
func (tab *tab) authenticator() webauthn.AuthenticatorID {
	tab.t.Helper()
	_, err := chromedp.Call(tab.ctx, webauthn.Enable, webauthn.EnableParams{})
	made, err2 := chromedp.Call(tab.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		},
	})
	if err := cmp.Or(err, err2); err != nil {
		tab.t.Fatal(err)
	}
	return made.AuthenticatorID
}

// give types a code into the page's first form, and sends it.
func (tab *tab) give(code string) int64 {
	tab.t.Helper()
	if err := chromedp.Do(tab.ctx, chromedp.Clear(chromedp.ID("code")), chromedp.SendKeys(chromedp.ID("code"), code)); err != nil {
		tab.t.Fatalf("no form to fill: %v", err)
	}
	return tab.press()
}

// visit opens an address, whatever page that leads to.
func (tab *tab) visit(address string) {
	tab.t.Helper()
	if err := chromedp.Do(tab.ctx, chromedp.Navigate(address)); err != nil {
		tab.t.Fatal(err)
	}
}

func (tab *tab) logOut(p *proc) {
	tab.t.Helper()
	tab.open(p.url(vaultHost, "/.edge/logout"))
	tab.press()
	tab.sees(p.url(loginHost, "/logged-out"), "logged out of every site")
}

// codeAt is what an app shows so many steps from now.
func codeAt(t *testing.T, secret string, steps int) string {
	t.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), time.Now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// A site that wants a second factor leads who has none to the app's QR code and then on; at the next login the app is asked for, and a
// recovery code will do instead.
func TestTOTPInBrowser(t *testing.T) {
	p := startVault(t)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	vault, login := p.url(vaultHost, "/deep?x=1"), p.url(loginHost, "/login")
	tab.open(p.url(wikiHost, "/"))
	tab.fill("alice", password)
	tab.sees(p.url(wikiHost, "/"), aliceEcho)
	if status := tab.open(vault); status != 403 {
		t.Errorf("one factor at the vault: %d", status)
	}
	tab.sees(login, "A second factor is needed", vaultHost)
	tab.load(chromedp.Click(chromedp.CSS("main a.button")))
	tab.sees(p.url(loginHost, "/account/totp"), "Authenticator app")
	if drawn := evaluate[int](tab, `document.querySelector("svg.qr").getBoundingClientRect().width`); drawn < 150 {
		t.Errorf("the QR code is %d px wide", drawn)
	}
	secret := evaluate[string](tab, `document.getElementById("secret").innerText`)
	first := codeAt(t, secret, 0) // which is good for a while yet, should the next half minute begin now
	tab.give(first)
	tab.sees(p.url(loginHost, "/account/totp"), "Recovery codes")
	recovery := evaluate[string](tab, `document.querySelector(".codes code").innerText`)
	tab.load(chromedp.Click(chromedp.CSS("main a.button")))
	tab.sees(vault, "GET /deep?x=1 ", aliceEcho)

	tab.logOut(p)
	tab.open(vault)
	tab.fill("alice", password)
	tab.sees(p.url(loginHost, "/second-factor"), "One more proof that it is you, alice")
	tab.give(first)
	tab.sees(p.url(loginHost, "/second-factor"), "has been used")
	tab.give(codeAt(t, secret, 1))
	tab.sees(vault, aliceEcho)

	tab.logOut(p)
	tab.open(vault)
	tab.fill("alice", password)
	err := chromedp.Do(tab.ctx, chromedp.Click(chromedp.CSS("summary")), chromedp.SendKeys(chromedp.ID("recovery"), recovery))
	if err != nil {
		t.Fatal(err)
	}
	tab.load(chromedp.Click(chromedp.CSS("details button")))
	tab.sees(vault, aliceEcho)

	p.user("", "reset-factors", "alice") // who has lost the phone
	until(t, "alice is logged out", func() bool { tab.open(vault); return tab.location() != vault })
	tab.fill("alice", password)
	tab.sees(login, "A second factor is needed")
}

// A passkey is enrolled with a name, logs in by itself with no name and no password, and ends half a login.
func TestPasskeyInBrowser(t *testing.T) {
	p := startVault(t)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	id := tab.authenticator()
	vault, passkeys := p.url(vaultHost, "/deep?x=1"), p.url(loginHost, "/account/passkeys")
	tab.open(passkeys)
	tab.fill("alice", password)
	tab.sees(passkeys, "A passkey logs you in without a password")
	if err := chromedp.Do(tab.ctx, chromedp.SendKeys(chromedp.ID("name"), "My phone")); err != nil {
		t.Fatal(err)
	}
	tab.press()
	tab.sees(passkeys, "Recovery codes")
	tab.open(passkeys)
	tab.sees(passkeys, "My phone")
	tab.open(vault)
	tab.sees(vault, aliceEcho)

	tab.logOut(p)
	tab.visit(vault) // the browser offers passkeys by itself, and this one is taken without a question
	until(t, "logged in by the browser's offer", func() bool {
		at, err := chromedp.Run(tab.ctx, chromedp.Evaluate[string]("location.href"))
		return err == nil && at == vault
	})
	tab.open(vault)
	tab.sees(vault, aliceEcho)

	const noOffer = "PublicKeyCredential.isConditionalMediationAvailable = async () => false"
	if _, err := chromedp.Call(tab.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: noOffer}); err != nil {
		t.Fatal(err)
	}
	tab.logOut(p)
	tab.open(vault)
	tab.load(chromedp.Click(chromedp.CSS("#passkey button")))
	tab.sees(vault, "GET /deep?x=1 ", aliceEcho)

	tab.logOut(p)
	tab.open(vault)
	tab.fill("alice", password)
	tab.sees(p.url(loginHost, "/second-factor"), "One more proof")
	tab.load(chromedp.Click(chromedp.CSS("#passkey button")))
	tab.sees(vault, aliceEcho)

	tab.logOut(p)
	tab.open(vault)
	_, err := chromedp.Call(tab.ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id})
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tab.ctx, chromedp.Click(chromedp.CSS("#passkey button")), chromedp.WaitVisible(chromedp.ID("passkey-failed"))); err != nil {
		t.Error(err)
	}
	tab.sees(p.url(loginHost, "/login"), "The passkey was not used")
	b.wantErrors()
}
