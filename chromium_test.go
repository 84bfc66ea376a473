package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// siteKey is of every certificate that vouches for itself, so that one browser can believe them all.
var siteKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// selfSigned makes a file with a certificate that vouches for itself, and its key.
func selfSigned(t *testing.T, file string, names ...string) {
	t.Helper()
	key := siteKey()
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	secret, err2 := x509.MarshalPKCS8PrivateKey(key)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := cmp.Or(err, err2, os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// port is the https listener's.
func (p *proc) port() string {
	p.t.Helper()
	_, port, _ := net.SplitHostPort(p.addr("https"))
	return port
}

// url is an address on the https listener.
func (p *proc) url(host, rest string) string {
	p.t.Helper()
	return "https://" + host + ":" + p.port() + rest
}

// pin is how a browser is told to believe a key whoever has signed it.
func pin(subjectPublicKeyInfo []byte) string {
	hash := sha256.Sum256(subjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// pin is that of the key that edge has for a host.
func (p *proc) pin(host string) string {
	p.t.Helper()
	c := p.connect("https", &tls.Config{ServerName: host, InsecureSkipVerify: true}) // to learn what the browser is to insist on
	defer c.Close()
	return pin(c.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
}

// sitePin is that of siteKey.
func sitePin() string {
	spki, err := x509.MarshalPKIXPublicKey(siteKey().Public())
	if err != nil {
		panic(err)
	}
	return pin(spki)
}

// browser is a profile of Debian's Chromium: what a person has on one machine.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	errors  []string // of the consoles of all tabs
	origins []string // that were asked for anything, by any tab
}

// browserLimit is how long a browser lives at most.
const browserLimit = time.Minute

// chromium is a process that finds hosts by these rules, and believes one key.
func chromium(parent context.Context, pin, rules string, more ...chromedp.ExecAllocatorOption) (ctx context.Context, end func(), err error) {
	bin, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, err
	}
	allocator, endAllocator := chromedp.NewExecAllocator(parent, slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		// The library adds headless, a profile that it removes, and for root no sandbox.
		chromedp.ExecPath(bin), chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("host-resolver-rules", rules), chromedp.Flag("ignore-certificate-errors-spki-list", pin),
	}, more)...)
	ctx, endBrowser := chromedp.NewContext(allocator)
	end = func() { endBrowser(); endAllocator() }
	if err := chromedp.Do(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return ctx, end, nil
}

const siteRules = "MAP *.test 127.0.0.1"

// shared is the process that most tests have a profile in; endShared ends it, if it was ever started.
var endShared = func() {}

var shared = sync.OnceValues(func() (context.Context, error) {
	ctx, end, err := chromium(context.Background(), sitePin(), siteRules)
	if err == nil {
		endShared = end
	}
	return ctx, err
})

// openBrowser makes a fresh profile, which finds the hosts below .test here.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	return openBrowserFor(t, browserLimit)
}

func openBrowserFor(t *testing.T, limit time.Duration) *browser {
	t.Helper()
	parent, err := shared()
	wantChromium(t, err)
	limited, end := context.WithTimeout(parent, limit)
	ctx, endProfile := chromedp.NewContext(limited, chromedp.WithNewBrowserContext())
	t.Cleanup(func() { endProfile(); end() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, ctx: ctx}
}

// openProcess starts a browser that no profile of the shared one will do for.
func openProcess(t *testing.T, pin, rules string, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	limited, endLimit := context.WithTimeout(context.Background(), browserLimit)
	ctx, end, err := chromium(limited, pin, rules, more...)
	t.Cleanup(endLimit)
	wantChromium(t, err)
	t.Cleanup(end)
	return &browser{t: t, ctx: ctx}
}

// profile is one more person's, in the same process.
func (b *browser) profile() *browser {
	b.t.Helper()
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	return &browser{t: b.t, ctx: ctx}
}

func wantChromium(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, exec.ErrNotFound) {
		needs(t, "chromium")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tab opens an empty one.
func (b *browser) tab() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Listen(ctx, b.watch); err != nil {
		b.t.Fatal(err)
	}
	return &tab{b, ctx}
}

func (b *browser) watch(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := event.(type) {
	case *log.EventEntryAdded:
		icon := strings.HasSuffix(ev.Entry.URL, "/favicon.ico") // which Chromium asks for when it likes; a protected site answers 401
		if ev.Entry.Level == log.EntryLevelError && !icon {
			b.errors = append(b.errors, ev.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, ev.ExceptionDetails.Text)
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(ev.Request.URL); err == nil && u.Host != "" {
			b.origins = append(b.origins, u.Scheme+"://"+u.Host)
		}
	}
}

// wantOrigins fails if anybody else was asked for anything.
func (b *browser) wantOrigins(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	wantSet(b.t, "asked for anything", slices.Compact(slices.Sorted(slices.Values(b.origins))), want)
}

// wantErrors fails if the consoles hold others than these.
func (b *browser) wantErrors(parts ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.EqualFunc(b.errors, parts, strings.Contains) {
		b.t.Errorf("errors on the console: %q, want %q", b.errors, parts)
	}
}

func wantSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// wantCookies fails unless there are these, "host name" each, and all of them as LOGIN.md §2b wants them.
func (b *browser) wantCookies(want ...string) {
	b.t.Helper()
	jar, err := chromedp.CallBrowser(b.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID})
	if err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for _, c := range jar.Cookies {
		got = append(got, c.Domain+" "+c.Name) // with a dot before the domain, if other hosts may have it too
		if !c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Path != "/" {
			b.t.Errorf("cookie %s of %s: %+v", c.Name, c.Domain, c)
		}
	}
	wantSet(b.t, "cookies", got, want)
}

// tab is what a person sees.
type tab struct {
	*browser
	ctx context.Context
}

// load does what makes a page load, and gives its status once it has.
func (tab *tab) load(steps ...chromedp.Action[chromedp.Void]) int64 {
	tab.t.Helper()
	resp, err := chromedp.RunResponse(tab.ctx, steps...)
	if err != nil {
		tab.t.Fatalf("no page: %v", err)
	}
	return resp.Status
}

func (tab *tab) open(address string) int64 {
	tab.t.Helper()
	return tab.load(chromedp.Navigate(address))
}

// press presses the button of the page's form.
func (tab *tab) press() int64 {
	tab.t.Helper()
	return tab.load(chromedp.Click(chromedp.CSS("main form button")))
}

// fill types name and password into the page's form, and sends it.
func (tab *tab) fill(name, password string) int64 {
	tab.t.Helper()
	err := chromedp.Do(tab.ctx, chromedp.Clear(chromedp.ID("name")),
		chromedp.SendKeys(chromedp.ID("name"), name), chromedp.SendKeys(chromedp.ID("password"), password))
	if err != nil {
		tab.t.Fatalf("no form to fill: %v", err)
	}
	return tab.press()
}

// back goes back in the history: to a page that is kept as it was, or is loaded again. The script must end before its page does.
func (tab *tab) back() {
	tab.t.Helper()
	_, err := chromedp.Run(tab.ctx, chromedp.WaitEvent(page.FrameNavigated, nil, chromedp.Evaluate[chromedp.Void]("void setTimeout(() => history.back())")))
	if err != nil {
		tab.t.Fatal(err)
	}
}

func (tab *tab) location() string { return evaluate[string](tab, "location.href") }

// evaluate is what a script in the page finds.
func evaluate[T any](tab *tab, script string) T {
	tab.t.Helper()
	v, err := chromedp.Run(tab.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		tab.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// sees fails unless the tab is at this address, without its query if none is given, and shows these texts, and no cookie of ours.
func (tab *tab) sees(address string, texts ...string) {
	tab.t.Helper()
	at := tab.location()
	if !strings.Contains(address, "?") {
		at, _, _ = strings.Cut(at, "?")
	}
	if at != address {
		tab.t.Errorf("at %s, want %s", at, address)
	}
	text := evaluate[string](tab, "document.body.innerText + document.cookie")
	wants(tab.t, text, texts...)
	if strings.Contains(text, "__Host-") {
		tab.t.Errorf("the page at %s can see a cookie of ours:\n%s", at, text)
	}
}
