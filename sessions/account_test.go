package sessions

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	onLinux   = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"
	onWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0"
)

// signedIn is a browser of alice's that calls itself so.
func (w *world) signedIn(agent string) *browser {
	w.t.Helper()
	b := w.browser()
	b.agent = agent
	b.sees(b.logIn("https://"+wiki+"/"), "alice at /")
	return b
}

func (b *browser) account() page { return b.get("https://" + loginHost + accountPath) }

func wantTexts(t *testing.T, p page, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("%s, %d: no %q in %s", p.url, p.status, text, p.body)
		}
	}
}

var endForm = regexp.MustCompile(`name="id" value="([^"]*)"`)

// The account page tells a person's logins apart, this one first, and can end another one.
func TestAccountSessions(t *testing.T) {
	w := newWorld(t)
	linux := w.signedIn(onLinux)
	w.clock.pass(3 * time.Hour)
	windows := w.signedIn(onWindows)
	stranger := w.browser()
	stranger.fill(stranger.get("https://"+wiki+"/"), "bob", "battery staple")

	p := windows.account()
	wantTexts(t, p, "<strong>alice</strong>", `Edge on Windows <span class="badge">This browser</span>`, "Firefox on Linux", "3 hours ago", "just now", "Nov 2026, ")
	ids := endForm.FindAllStringSubmatch(p.body, -1)
	if len(ids) != 2 {
		t.Fatalf("%d sessions are shown, want 2: %s", len(ids), p.body)
	}
	bobs := endForm.FindStringSubmatch(stranger.account().body)[1]
	end := func(id string) page {
		return windows.post("https://"+loginHost+"/account/sessions/end", url.Values{"id": {id}})
	}
	end(bobs)
	if !w.alive(stranger) {
		t.Error("alice has ended a session of bob's")
	}
	if p := end("x"); p.status != http.StatusBadRequest {
		t.Errorf("no id: %d", p.status)
	}
	p = end(ids[1][1])
	wantTexts(t, p, `role="status">That browser has been logged out.`)
	if p.url.Path != accountPath || w.alive(linux) || !w.alive(windows) {
		t.Errorf("at %s; the other is alive: %t, this one: %t", p.url, w.alive(linux), w.alive(windows))
	}
	end(ids[1][1]) // once more: it is as it should be
	if p := end(ids[0][1]); p.url.Path != "/logged-out" || w.alive(windows) {
		t.Errorf("at %s, alive: %t", p.url, w.alive(windows))
	}
}

// Log out everywhere, and everywhere else.
func TestAccountEndAll(t *testing.T) {
	w := newWorld(t)
	one, two := w.signedIn(onLinux), w.signedIn(onWindows)
	p := two.post("https://"+loginHost+"/account/sessions/end-all", url.Values{"but": {"this"}})
	wantTexts(t, p, "All other browsers have been logged out.")
	if w.alive(one) || !w.alive(two) {
		t.Errorf("the other is alive: %t, this one: %t", w.alive(one), w.alive(two))
	}
	one = w.signedIn(onLinux)
	p = two.post("https://"+loginHost+"/account/sessions/end-all", nil)
	if p.url.Path != "/logged-out" || w.alive(one) || w.alive(two) {
		t.Errorf("at %s, alive: %t, %t", p.url, w.alive(one), w.alive(two))
	}
}

// A change of the password needs the current one, ends all other sessions, and gives this browser a new id.
func TestAccountPassword(t *testing.T) {
	w := newWorld(t)
	other, b := w.signedIn(onLinux), w.signedIn(onWindows)
	change := func(current, new, again string) page {
		return b.post("https://"+loginHost+"/account/password", url.Values{"username": {"bob"}, "current": {current}, "new": {new}, "again": {again}})
	}
	p := change("wrong", "new password", "new password")
	if p.status != http.StatusForbidden {
		t.Errorf("a wrong password: %d, want 403", p.status)
	}
	wantTexts(t, p, `role="alert" id="error">Sorry, the current password is wrong.`, `required autofocus aria-describedby="error"`, "Edge on Windows")
	p = change("correct horse", "new password", "New password")
	if p.status != http.StatusUnprocessableEntity {
		t.Errorf("two passwords: %d, want 422", p.status)
	}
	wantTexts(t, p, "the new password is not the same both times")
	if !w.alive(other) || !w.alive(b) {
		t.Error("a refused change ended a session")
	}
	before := b.jar[loginHost][ssoCookie]
	p = change("correct horse", "new password", "new password")
	wantTexts(t, p, "Your password has been changed.", "Edge on Windows")
	if after := b.jar[loginHost][ssoCookie]; after[:36] == before[:36] {
		t.Error("the id is the same")
	}
	if w.alive(other) || strings.Contains(p.body, "Firefox") {
		t.Error("the other session is alive")
	}
	b.sees(b.get("https://"+wiki+"/"), "alice at /") // by the new login
	other.unknown("https://" + wiki + "/")
	if p := other.fill(other.get("https://"+wiki+"/"), "alice", "correct horse"); p.status != http.StatusForbidden {
		t.Errorf("the old password: %d", p.status)
	}
	other.sees(other.fill(other.get("https://"+wiki+"/"), "alice", "new password"), "alice at /")
}

// The page and its forms are for who is signed in.
func TestAccountOfNobody(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, path := range []string{accountPath, "/.well-known/change-password"} {
		if p := b.get("https://" + loginHost + path); p.url.Path != "/login" {
			t.Errorf("%s leads to %s", path, p.url)
		}
	}
	for _, path := range []string{"/account/password", "/account/sessions/end", "/account/sessions/end-all"} {
		if p := b.post("https://"+loginHost+path, nil); p.url.Path != "/login" {
			t.Errorf("%s leads to %s, %d", path, p.url, p.status)
		}
	}
}

func TestDevice(t *testing.T) {
	for agent, want := range map[string]string{
		onLinux:   "Firefox on Linux",
		onWindows: "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1":           "Safari on iPhone",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/143.0.7499.92 Mobile/15E148 Safari/604.1":    "Chrome on iPhone",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15":                             "Safari on macOS",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Mobile Safari/537.36":                                   "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":               "Samsung Internet on Android",
		"Mozilla/5.0 (Linux; Android 14; x) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.50": "WeChat on Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36":                                    "Chrome on ChromeOS",
		"curl/8.14.1": "curl",
		"":            "Unknown browser",
		"<script>":    "Unknown browser",
	} {
		if got := device(english, agent); got != want {
			t.Errorf("%s: %s, want %s", agent, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration][2]string{
		-time.Second:     {"just now", "刚刚"},
		59 * time.Second: {"just now", "刚刚"},
		time.Minute:      {"a minute ago", "1 分钟前"},
		59 * time.Minute: {"59 minutes ago", "59 分钟前"},
		time.Hour:        {"an hour ago", "1 小时前"},
		23 * time.Hour:   {"23 hours ago", "23 小时前"},
		47 * time.Hour:   {"a day ago", "1 天前"},
		72 * time.Hour:   {"3 days ago", "3 天前"},
	} {
		for i, l := range languages {
			if got := l.moment(now.Add(-ago), now).Ago; got != want[i] {
				t.Errorf("%v ago in %s: %s, want %s", ago, l.Lang, got, want[i])
			}
		}
	}
	if got := languages[1].moment(now, now).Date; !strings.HasPrefix(got, "2026年11月2") {
		t.Error(got)
	}
}
