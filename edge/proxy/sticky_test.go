package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"edge/edge/upstream"
)

func contextOf(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("in vain: " + what)
		}
	}
}

// led is a Proxy to targets that tell which one they are and what cookies they see.
func led(t *testing.T, scheme string, n int) (*Proxy, []string) {
	t.Helper()
	var targets []string
	for i := range n {
		s := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "app=1")
			fmt.Fprintf(w, "%d%v", i, r.Header["Cookie"])
		}))
		targets = append(targets, scheme+strings.TrimPrefix(s.URL, "http"))
	}
	return leading(t, targets...)
}

// leading is a Proxy with a cookie, and the cookies that name its targets.
func leading(t *testing.T, targets ...string) (*Proxy, []string) {
	t.Helper()
	s := spec(targets...)
	s.Sticky, s.MaxFails, s.FailTimeout = "at", 1, time.Hour
	u := pool(t, s)
	if err := (upstream.Set{s: u}).Identify(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	var cookies []string
	for _, target := range u.Targets() {
		cookies = append(cookies, "at="+target.ID)
	}
	return &Proxy{Upstream: u, OwnCookie: OrCookie(own, "at")}, cookies
}

// ours gives the cookie that an answer sets, besides the target's own.
func ours(t *testing.T, resp *http.Response) (cookie string) {
	t.Helper()
	set := resp.Header["Set-Cookie"]
	if len(set) == 0 || set[0] != "app=1" || len(set) > 2 {
		t.Errorf("the answer sets %q", set)
		return ""
	}
	if len(set) == 2 {
		cookie = set[1]
	}
	return cookie
}

// What goes to a target of a Cookie field; where nothing is ours it is not ours to tidy up.
func TestOthersCookies(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"a=b":                    "a=b",
		"a=b;c=d; ":              "a=b;c=d; ",
		"ours=1":                 "",
		"ours=1; ":               "",
		"at=x; ours=1":           "",
		"a=b; ours=1":            "a=b",
		"at=x;a=b":               "a=b",
		"a=b; ours=1;  c=d ":     "a=b; c=d",
		"a=b; at=;; ours=1; c":   "a=b; c",
		"\tours=1;\tat=2;\tat":   "at",
		"ours=11; bat=1; ours=1": "ours=11; bat=1",
	} {
		s := fieldScratch{text: []byte("before")}
		if got := s.addOthers([]byte(in), OrCookie(own, "at")); string(got) != want || string(s.text[:6]) != "before" {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// A target sets no cookie of ours, whatever way it writes it, in no answer.
func TestTargetsSetNoCookieOfOurs(t *testing.T) {
	theirs := []string{"a=ours=1", "ours=11", "b=1; ours=1", "a"}
	for _, scheme := range []string{"http", "h2c"} {
		bothModes(t, func(t *testing.T, major int) {
			s := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Set-Cookie"] = append([]string{"ours=1", "ours=1; Path=/", "ours=1 ;Secure", "=ours=1", "= ours=1", "at=x"}, theirs...)
				if scheme == "http" { // in HTTP/2 no value may begin so
					w.Header().Add("Set-Cookie", " ours=1 ;Secure")
				}
				w.WriteHeader(http.StatusEarlyHints)
			}))
			p, _ := leading(t, scheme+strings.TrimPrefix(s.URL, "http"))
			f := relay(t, major, p)
			for _, sent := range []string{"", "at=" + p.Upstream.Targets()[0].ID} {
				var interim []string
				trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { interim = h["Set-Cookie"]; return nil }}
				r := f.request(t, "GET", "/", http.Header{"Cookie": {sent}}, nil)
				resp, err := f.Client().Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if !slices.Equal(interim, theirs) {
					t.Errorf("%s, cookie %q: the interim answer sets %q, want %q", scheme, sent, interim, theirs)
				}
				got := resp.Header["Set-Cookie"]
				if sent == "" && len(got) == len(theirs)+1 && strings.HasPrefix(got[len(theirs)], "at=") {
					got = got[:len(theirs)]
				}
				if !slices.Equal(got, theirs) {
					t.Errorf("%s, cookie %q: the answer sets %q, want %q", scheme, sent, resp.Header["Set-Cookie"], theirs)
				}
			}
		})
	}
}

// A client stays with its target: the first answer sets the cookie, no other one does, and targets never see it.
func TestSticky(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		bothModes(t, func(t *testing.T, major int) {
			p, cookies := led(t, scheme, 3)
			f := relay(t, major, p)
			attributes := "; Path=/; HttpOnly; SameSite=Lax"
			if major == 2 {
				attributes += "; Secure"
			}
			for i := range 3 {
				resp, text, err := f.ask(t, "GET", "/", http.Header{"Cookie": {"a=b"}}, nil)
				if err != nil || text != fmt.Sprintf("%d[a=b]", i) || ours(t, resp) != cookies[i]+attributes {
					t.Errorf("new: got %v, %q, %v", resp, text, err)
				}
			}
			for sent, want := range map[string]string{
				cookies[1]:                          "1[]",
				"a=b; " + cookies[2] + "; c=d":      "2[a=b; c=d]",
				"at=wrong; " + cookies[0]:           "0[]",
				cookies[2] + "; " + cookies[0]:      "2[]",
				"bat=1; " + cookies[2] + "; ours=1": "2[bat=1]",
			} {
				for range 4 {
					resp, text, err := f.ask(t, "GET", "/", http.Header{"Cookie": {sent}}, nil)
					if err != nil || text != want || ours(t, resp) != "" {
						t.Errorf("%q: got %v, %q, %v", sent, resp, text, err)
					}
				}
			}
		})
	}
}

// A client whose target is aside, or gone, gets another one, and its cookie.
func TestStickyMoves(t *testing.T) {
	p, cookies := led(t, "http", 3)
	f := relay(t, 1, p)
	for _, cookie := range []string{"at=", "at=x", "at=" + strings.Repeat("x", 16), "At=" + cookies[1][3:]} {
		resp, _, err := f.ask(t, "GET", "/", http.Header{"Cookie": {cookie}}, nil)
		if err != nil || ours(t, resp) == "" {
			t.Errorf("%q: got %v, %v", cookie, resp, err)
		}
	}
	p.Upstream.Targets()[1].Failed(errors.New("broken"))
	for range 3 {
		resp, text, err := f.ask(t, "GET", "/", http.Header{"Cookie": {cookies[1]}}, nil)
		if set := ours(t, resp); err != nil || text[0] == '1' || !strings.HasPrefix(set, cookies[text[0]-'0']+";") {
			t.Errorf("aside: got %q, %q, %v", set, text, err)
		}
	}
	p.Upstream.Targets()[1].Answered()
	if resp, text, err := f.ask(t, "GET", "/", http.Header{"Cookie": {cookies[1]}}, nil); err != nil || text[0] != '1' || ours(t, resp) != "" {
		t.Errorf("back: got %q, %v", text, err)
	}
}

// Where the client's target cannot be reached, or fails the request, the cookie is that of the one that answers; an answer of our own sets none.
func TestStickyFails(t *testing.T) {
	up, _ := led(t, "http", 1)
	b := &bad{does: "503"}
	p, cookies := leading(t, "http://"+refused(t), "http://"+up.Upstream.Targets()[0].Name, b.target(t, "http"))
	p.Upstream.Retries = nil
	f := relay(t, 1, p)
	resp, text, err := f.ask(t, "GET", "/", http.Header{"Cookie": {cookies[0]}}, nil)
	set := strings.Join(resp.Header["Set-Cookie"], "\n")
	if want := map[string]string{"0[]": cookies[1], "mine": cookies[2]}[text]; err != nil || want == "" || !strings.Contains(set, want+";") {
		t.Errorf("refused: got %v, %q, %v", resp, text, err)
	}
	resp, text, err = f.ask(t, "GET", "/", http.Header{"Cookie": {cookies[2]}}, nil)
	if err != nil || resp.StatusCode != 503 || text != "mine" || len(resp.Header["Set-Cookie"]) > 0 {
		t.Errorf("its own 503: got %v, %q, %v", resp, text, err)
	}

	p, _ = leading(t, "http://"+refused(t), "http://"+refused(t))
	f = relay(t, 1, p)
	resp, _, err = f.ask(t, "GET", "/", nil, nil)
	if err != nil || resp.StatusCode != 502 || len(resp.Header["Set-Cookie"]) > 0 {
		t.Errorf("nobody answers: %v, %v", resp, err)
	}
	ends := &bad{does: "ends"}
	p, _ = leading(t, ends.target(t, "http"))
	f = relay(t, 1, p)
	resp, _, err = f.ask(t, "POST", "/", nil, nil)
	if err != nil || resp.StatusCode != 502 || len(resp.Header["Set-Cookie"]) > 0 {
		t.Errorf("no answer: %v, %v", resp, err)
	}
}

// A request that goes to another target after its head was asked for is answered with that one's cookie, and with no other.
func TestStickyRetries(t *testing.T) {
	up, _ := led(t, "http", 1)
	b := &bad{does: "503"}
	s := spec(b.target(t, "http"), "http://"+up.Upstream.Targets()[0].Name)
	s.Sticky, s.Retries = "at", all()
	u := pool(t, s)
	if err := (upstream.Set{s: u}).Identify(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	f := relay(t, 1, &Proxy{Upstream: u})
	for i, cookie := range []string{"", "at=" + u.Targets()[0].ID} {
		resp, text, err := f.ask(t, "GET", "/", http.Header{"Cookie": {cookie}}, nil)
		if err != nil || !strings.HasPrefix(text, "0") || !strings.HasPrefix(ours(t, resp), "at="+u.Targets()[1].ID+";") || int(b.got.Load()) != i+1 {
			t.Errorf("%q: got %v, %q, %v", cookie, resp, text, err)
		}
		turn, _ := u.Take(caller{t.Context()}, nil, nil) // so that the next one's turn is the first target's
		turn.Done()
	}
}

// The answer that begins a WebSocket sets it too.
func TestStickyTunnel(t *testing.T) {
	m := newMany(t)
	p, cookies := leading(t, m.URL)
	f := relay(t, 1, p)
	c, in := f.dial(t, strings.Replace(upgrade, "GET / ", "GET /ws ", 1))
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 || !strings.HasPrefix(resp.Header.Get("Set-Cookie"), cookies[0]+";") {
		t.Errorf("got %v, %v", resp, err)
	}
	c.Close()
}
