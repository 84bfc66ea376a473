package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"golang.org/x/sys/unix"
)

var screens = flag.String("screens", "", "a folder for pictures of every login page, which are made only then")

// TestScreens makes the pictures of docs/screens.
func TestScreens(t *testing.T) {
	if *screens == "" {
		t.Skip("no -screens")
	}
	p := startDressed(t, "")
	p.user(password, "add", "alice")
	for _, agent := range []string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:146.0) Gecko/20100101 Firefox/146.0",
	} {
		p.logInAs(agent, "alice")
	}
	tab := openBrowserFor(t, 10*time.Minute).tab()
	tab.tour(p, tab.picture)
}

// TestScreensOfProviders makes those of a login with providers.
func TestScreensOfProviders(t *testing.T) {
	if *screens == "" {
		t.Skip("no -screens")
	}
	p := startDressed(t, goneProviders)
	p.user(password, "add", "alice")
	tab := openBrowserFor(t, 5*time.Minute).tab()
	tab.tourOfProviders(p, func(name string) {
		if !slices.Contains([]string{"account-providers-zh", "account-provider-down", "account-unlinked", "account-linked-twice"}, name) { // much as others
			tab.picture(name)
		}
	})
}

// TestScreensOfStoreDown makes those of a store that does not answer.
func TestScreensOfStoreDown(t *testing.T) {
	if *screens == "" {
		t.Skip("no -screens")
	}
	p := startDressed(t, "")
	p.user(password, "add", "bob")
	tab := openBrowser(t).tab()
	tab.open(p.url(loginHost, "/login"))
	p.holdStore()
	tab.fill("bob", password)
	tab.sees(p.url(loginHost, "/login"), "One moment, please")
	tab.picture("store-down")
}

// holdStore keeps everybody from writing to the sessions' store, as a disk that hangs would, until the test ends: it takes the lock of SQLite's writers.
func (p *proc) holdStore() {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "state", "sessions*shm"))
	if err != nil || len(files) == 0 {
		p.t.Fatalf("the store has no files: %v", err)
	}
	for _, name := range files {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { f.Close() })
		const writers = 120 // the byte
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: writers, Len: 1}
		if err := unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &lock); err != nil {
			p.t.Fatal(err)
		}
	}
}

// startDressed starts an edge with a login whose pages look as these lines of [login] say, and hosts that need it: files is for bob alone, and
// vault wants a second factor.
func startDressed(t *testing.T, theme string) *proc {
	t.Helper()
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "test.pem"), loginHost, wikiHost, filesHost, vaultHost)
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
access = ["bob"]
echo = true
[[vhost]]
hosts = [%q]
access = "login"
require = "second_factor"
echo = true
[login]
host = %q
registration = "open"
%s`, wikiHost, filesHost, vaultHost, loginHost, theme))
}

// logInAs logs in as a browser that calls itself so.
func (p *proc) logInAs(agent, name string) {
	p.t.Helper()
	form := url.Values{"name": {name}, "password": {password}}.Encode()
	r, err := http.NewRequest("POST", p.url(loginHost, "/login"), strings.NewReader(form))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = http.Header{"User-Agent": {agent}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dialer("https", nil)(ctx) }
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: dial} // the certificate vouches for itself
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
}

// language makes the browser ask for one, and the page come again in it.
func (tab *tab) language(accept string) {
	tab.t.Helper()
	agent := evaluate[string](tab, "navigator.userAgent")
	_, err := chromedp.Call(tab.ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: accept})
	if err != nil {
		tab.t.Fatal(err)
	}
	tab.load(chromedp.Reload())
}

// send types into fields, by id, and presses a button.
func (tab *tab) send(button string, fields ...string) int64 {
	tab.t.Helper()
	for pair := range slices.Chunk(fields, 2) {
		err := chromedp.Do(tab.ctx, chromedp.Clear(chromedp.ID(pair[0])), chromedp.SendKeys(chromedp.ID(pair[0]), pair[1]))
		if err != nil {
			tab.t.Fatalf("field %s: %v", pair[0], err)
		}
	}
	return tab.load(chromedp.Click(chromedp.CSS(button)))
}

// looks are how a person may look at a page.
var looks = []struct {
	name          string
	width, height int64
	scheme        string
}{
	{"desktop-light", 1100, 760, "light"}, {"desktop-dark", 1100, 760, "dark"},
	{"phone-light", 390, 780, "light"}, {"phone-dark", 390, 780, "dark"},
}

// look makes the tab a screen of this kind.
func (tab *tab) look(width, height int64, scheme string) {
	tab.t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	_, err := chromedp.Call(tab.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	if err := cmp.Or(err, chromedp.Do(tab.ctx, chromedp.EmulateViewport(width, height))); err != nil {
		tab.t.Fatal(err)
	}
}

// picture keeps how the page looks, in every way.
func (tab *tab) picture(name string) {
	tab.t.Helper()
	for _, l := range looks {
		tab.look(l.width, l.height, l.scheme)
		shot, err := chromedp.Run(tab.ctx, chromedp.FullScreenshot(100))
		if err == nil {
			shot, err = smaller(shot)
		}
		if err := cmp.Or(err, os.WriteFile(filepath.Join(*screens, name+"-"+l.name+".png"), shot, 0o644)); err != nil {
			tab.t.Fatal(err)
		}
		if len(shot) > 60<<10 {
			tab.t.Errorf("%s-%s has %d bytes", name, l.name, len(shot))
		}
	}
	if err := chromedp.Do(tab.ctx, chromedp.ResetViewport()); err != nil {
		tab.t.Fatal(err)
	}
}

// smaller gives a picture with the colors that are used most: of a page, hardly anybody sees that some are missing.
func smaller(picture []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	all := image.NewRGBA(from.Bounds())
	draw.Draw(all, all.Bounds(), from, image.Point{}, draw.Src)
	count := map[color.RGBA]int{}
	for c := range slices.Chunk(all.Pix, 4) {
		count[color.RGBA{c[0], c[1], c[2], c[3]}]++
	}
	order := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var used color.Palette
	for _, c := range order[:min(len(order), 64)] {
		used = append(used, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range order {
		nearest[c] = uint8(used.Index(c))
	}
	to := image.NewPaletted(from.Bounds(), used)
	for i := range to.Pix {
		p := all.Pix[4*i:]
		to.Pix[i] = nearest[color.RGBA{p[0], p[1], p[2], p[3]}]
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to)
	return out.Bytes(), err
}
