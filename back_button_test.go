package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// 48: after a logout the back button does not show what only who is logged in may see, though the app says nothing of caches: neither the page as
// it was in memory nor one of the cache.
func TestBackAfterLogoutInBrowser(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cached" {
			w.Header().Set("Cache-Control", "private, max-age=3600")
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>Secret</title><p>The secret of "+r.Header.Get("Remote-User")+"</p>")
	}))
	t.Cleanup(app.Close)
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "test.pem"), loginHost, wikiHost)
	p := startIn(t, dir, "edge", config+fmt.Sprintf(`
[[certificate]]
cert = "test.pem"
key = "test.pem"
[[vhost]]
hosts = [%q]
access = "login"
proxy = "http://%s"
[login]
host = %q
`, wikiHost, strings.TrimPrefix(app.URL, "http://"), loginHost))
	p.user(password, "add", "alice")
	b := openBrowser(t)
	for _, path := range []string{"/plain", "/cached"} {
		tab := b.tab()
		tab.open(p.url(wikiHost, path))
		tab.fill("alice", password)
		tab.sees(p.url(wikiHost, path), "The secret of alice")
		tab.open(p.url(wikiHost, "/.edge/logout"))
		tab.press()
		tab.sees(p.url(loginHost, "/logged-out"), "logged out")
		tab.back()
		tab.back()
		until(t, "the back button has led somewhere", func() bool { return evaluate[string](tab, "document.readyState") == "complete" })
		if text := evaluate[string](tab, "document.body.innerText"); strings.Contains(text, "secret") {
			t.Errorf("%s: after the logout the back button shows %q at %s", path, text, tab.location())
		}
	}
}
