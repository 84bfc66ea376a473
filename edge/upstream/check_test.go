package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
)

const every = 10 * time.Second

// ward is an upstream whose targets' health is what the test says it is.
type ward struct {
	*Upstream
	*notes
	mu  sync.Mutex
	ill map[string]error
	at  map[string][]time.Time // of each check
}

func newWard(targets ...string) *ward {
	s := spec(targets...)
	s.Health = &conf.HealthCheck{Interval: every, Timeout: 2 * time.Second, Passes: 2, Fails: 3}
	w := &ward{notes: new(notes), ill: map[string]error{}, at: map[string][]time.Time{}}
	set, _ := Draft([]*conf.Upstream{s}, nil, w.logger())
	w.Upstream = set[s]
	for _, t := range w.targets {
		t.check = func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.at[t.Name] = append(w.at[t.Name], time.Now())
			return w.ill[t.Name]
		}
	}
	return w
}

func (w *ward) falls(target string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ill[target] = err
}

// times are those at which a target was checked.
func (w *ward) times(target string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[target]
}

// pass lets the time of n checks of each target pass.
func pass(n int) {
	time.Sleep(time.Duration(n) * every)
	synctest.Wait()
}

// Three bad checks in a row set a target aside, two good ones in a row take it back; each is told once, with the reason.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard("http://a", "http://b")
		w.Start()
		defer w.Close()
		pass(2)
		w.falls("a", errBroken)
		pass(2)
		w.falls("a", nil)
		pass(1)
		w.falls("a", errBroken)
		pass(2)
		if got, log := firsts(w.Upstream, 4), w.take(); got != "abab" || log != "" {
			t.Errorf("two bad checks, a good one, two bad ones: tried first: %q; logged %q", got, log)
		}
		pass(1)
		if stats := (Set{nil: w.Upstream}).Stats(); !stats[0].Aside || stats[1].Aside {
			t.Errorf("the status has %+v", stats)
		}
		const down = "level=WARN msg=\"target set aside\" upstream=up target=a until=\"it passes its health checks\" error=broken\n"
		if got, log := firsts(w.Upstream, 4), w.take(); got != "bbbb" || log != down {
			t.Errorf("three bad ones: tried first: %q; logged %q", got, log)
		}
		pass(5)
		w.falls("a", nil)
		pass(1)
		w.falls("a", errBroken)
		pass(1)
		w.falls("a", nil)
		pass(1)
		if got, log := firsts(w.Upstream, 4), w.take(); got != "bbbb" || log != "" {
			t.Errorf("a good check, a bad one, a good one: tried first: %q; logged %q", got, log)
		}
		pass(1)
		const back = "level=INFO msg=\"target is back\" upstream=up target=a by=\"its health checks\"\n"
		if got, log := firsts(w.Upstream, 4), w.take(); got != "abab" && got != "baba" || log != back {
			t.Errorf("two good checks: tried first: %q; logged %q", got, log)
		}
	})
}

// An answer of a target does not take it back, as checks may ask for more; and a good check does not take back whom exchanges have set aside.
func TestChecksAndExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard("http://a", "http://b")
		w.maxFails, w.failTimeout = maxFails, time.Hour
		w.falls("a", errBroken)
		w.Start()
		defer w.Close()
		pass(3)
		w.targets[0].Failed(errBroken)
		w.targets[0].Answered()
		if got := firsts(w.Upstream, 4); got != "bbbb" {
			t.Errorf("tried first: %q", got)
		}
		w.falls("a", nil)
		pass(2)
		fails(w.targets[0])
		pass(2)
		if got := firsts(w.Upstream, 4); got != "bbbb" {
			t.Errorf("set aside by exchanges: tried first: %q", got)
		}
	})
}

// Where all are aside all are tried, those that only exchanges have set aside first.
func TestAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard("http://a", "http://b", "http://c")
		w.maxFails, w.failTimeout = maxFails, time.Hour
		w.falls("a", errBroken)
		w.falls("b", errBroken)
		w.Start()
		defer w.Close()
		pass(3)
		fails(w.targets[2])
		if got := order(w.Upstream); !strings.HasPrefix(got, "c") || len(got) != 3 {
			t.Errorf("tried in the order %q", got)
		}
	})
}

// The first check is anywhere within the interval, and each other one an interval after it.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var targets []string
		for i := range 20 {
			targets = append(targets, fmt.Sprint("http://", i))
		}
		w, begin := newWard(targets...), time.Now()
		w.Start()
		w.Start()
		defer w.Close()
		pass(3)
		seen := map[time.Duration]bool{}
		for name, at := range w.at {
			first := at[0].Sub(begin)
			if seen[first] = true; first >= every || len(at) != 3 || at[1].Sub(at[0]) != every || at[2].Sub(at[1]) != every {
				t.Errorf("%s is checked at %v, of %v", name, at, begin)
			}
		}
		if len(w.at) != 20 || len(seen) < 15 {
			t.Errorf("%d targets are checked at %d moments", len(w.at), len(seen))
		}
	})
}

// A check that takes too long is a bad one, and says so; one for which there is no descriptor is none.
func TestCheckTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard("http://a", "http://b")
		w.targets[0].check = func(ctx context.Context) error { <-ctx.Done(); return errors.New("cut") }
		w.falls("b", &net.OpError{Op: "dial", Err: syscall.EMFILE})
		w.Start()
		defer w.Close()
		pass(4)
		if log := w.take(); strings.Count(log, "set aside") != 1 || !strings.Contains(log, "target=a") || !strings.Contains(log, `error="not done within 2s"`) {
			t.Errorf("logged %q", log)
		}
	})
}

// A reload that does not concern an upstream leaves its checks as they are, and their result; one that does ends them. A draft checks nothing.
func TestChecksOverReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard("http://a", "http://b")
		pass(3)
		if len(w.times("a")) > 0 {
			t.Error("checked before it is in force")
		}
		s := spec("http://a", "http://b")
		s.Health = &conf.HealthCheck{Interval: every, Timeout: 2 * time.Second, Passes: 2, Fails: 3}
		set := Set{s: w.Upstream}
		set.Start()
		w.falls("a", errBroken)
		pass(3)
		again := *s
		moved := *s.Health
		moved.Pos.Line, again.Health = 7, &moved
		kept, _ := Draft([]*conf.Upstream{&again}, set, w.logger())
		kept.Start()
		if kept[&again] != w.Upstream || firsts(kept[&again], 4) != "bbbb" {
			t.Error("it is not kept")
		}
		n := len(w.times("a"))
		if pass(1); len(w.times("a")) != n+1 {
			t.Errorf("checked %d times in an interval", len(w.times("a"))-n)
		}
		w.Retire()
		w.Start()
		n = len(w.times("a"))
		if pass(3); len(w.times("a")) != n {
			t.Error("checked after it is retired")
		}
		if got := firsts(w.Upstream, 4); got != "abab" && got != "baba" { // nobody would take a back: what is left in flight may use it
			t.Errorf("tried first: %q", got)
		}
	})
}

// An upstream that is retired in the middle of a check does not wait for the target, nor tell of it.
func TestCheckIsCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, logged := spec("http://"+l.Addr().String()), new(notes)
	s.Health = &conf.HealthCheck{Path: "/", Interval: time.Millisecond, Timeout: time.Hour, Passes: 1, Fails: 1}
	set, _ := Draft([]*conf.Upstream{s}, nil, logged.logger())
	set.Start()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bufio.NewReader(c).ReadString('\n')
	ended := make(chan struct{})
	go func() { set[s].Close(); close(ended) }()
	wait(t, "the upstream is closed", ended)
	if log := logged.take(); log != "" {
		t.Errorf("logged %q", log)
	}
}

// patient is a server that answers as its path says.
func patient(w http.ResponseWriter, r *http.Request) {
	status := 200
	switch fmt.Sscanf(r.URL.Path, "/%d", &status); {
	case r.Header.Get("User-Agent") != checkAgent, r.Method != "GET":
		status = 400
	case r.URL.Path == "/host" && r.Host != r.URL.Query().Get("is"):
		status = 421
	case r.URL.Path == "/large":
		w.Write(make([]byte, 1<<20))
		return
	case r.URL.Path == "/cut":
		w.Header().Set("Content-Length", "100")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

// What a check says of each kind of target, over real connections.
func TestCheckTargets(t *testing.T) {
	plain := httptest.NewUnstartedServer(http.HandlerFunc(patient))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Start()
	t.Cleanup(plain.Close)
	address := plain.Listener.Addr().String()
	secure := tlsServer(t)
	secure.Config.Handler = http.HandlerFunc(patient)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, certificate(t, secure))
	socket := filepath.Join(t.TempDir(), "up.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	over := &http.Server{Handler: http.HandlerFunc(patient)}
	ended := make(chan struct{})
	go func() { over.Serve(l); close(ended) }()
	t.Cleanup(func() { over.Close(); <-ended })
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	spoken := make(chan struct{})
	go func() {
		defer close(spoken)
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "220 smtp ready\r\n\r\n")
			c.Close()
		}
	}()
	t.Cleanup(func() { garbage.Close(); <-spoken })
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for name, c := range map[string]struct {
		target, path, host, ca string
		statuses               []int
		want                   string // of the error; "": it is well
	}{
		"200":                         {target: "http://" + address, path: "/200"},
		"399":                         {target: "http://" + address, path: "/399"},
		"400":                         {target: "http://" + address, path: "/400", want: "the answer has the status 400"},
		"503":                         {target: "http://" + address, path: "/503", want: "the answer has the status 503"},
		"404 is well":                 {target: "http://" + address, path: "/404", statuses: []int{200, 404}},
		"204 is not":                  {target: "http://" + address, path: "/204", statuses: []int{200}, want: "the answer has the status 204"},
		"the target's host":           {target: "http://" + address, path: "/host?is=" + address},
		"another host":                {target: "http://" + address, path: "/host?is=a.test", host: "a.test"},
		"a large answer":              {target: "http://" + address, path: "/large"},
		"an answer cut short":         {target: "http://" + address, path: "/cut", want: "EOF"},
		"no HTTP":                     {target: "http://" + garbage.Addr().String(), path: "/", want: "malformed"},
		"refused":                     {target: "http://" + nobody.Addr().String(), path: "/", want: "refused"},
		"https":                       {target: "https://" + secure.Listener.Addr().String(), path: "/200", ca: ca},
		"https, 500":                  {target: "https://" + secure.Listener.Addr().String(), path: "/500", ca: ca, want: "the answer has the status 500"},
		"https of nobody known":       {target: "https://" + secure.Listener.Addr().String(), path: "/200", want: "certificate"},
		"https, connected":            {target: "https://" + secure.Listener.Addr().String(), ca: ca},
		"https of nobody, connected":  {target: "https://" + secure.Listener.Addr().String(), want: "certificate"},
		"https where none is spoken":  {target: "https://" + address, want: "tls"},
		"unix":                        {target: "unix://" + socket, path: "/host?is=localhost"},
		"unix, 503":                   {target: "unix://" + socket, path: "/503", want: "the answer has the status 503"},
		"no socket":                   {target: "unix://" + socket + "x", path: "/", want: "no such file"},
		"h2c":                         {target: "h2c://" + address, path: "/host?is=a.test", host: "a.test"},
		"h2c, the target's host":      {target: "h2c://" + address, path: "/host?is=" + address},
		"h2c, 503":                    {target: "h2c://" + address, path: "/503", want: "the answer has the status 503"},
		"h2c, cut short":              {target: "h2c://" + address, path: "/cut", want: "reset the stream"},
		"h2c where none is spoken":    {target: "h2c://" + garbage.Addr().String(), path: "/", want: "h2: a frame"},
		"tcp":                         {target: "tcp://" + garbage.Addr().String()},
		"tcp, refused":                {target: "tcp://" + nobody.Addr().String(), want: "refused"},
		"http, connected":             {target: "http://" + garbage.Addr().String()},
		"a name that nobody has":      {target: "http://does-not-exist.invalid:1", path: "/", want: "no such host"},
		"an upgrade that nobody asks": {target: "http://" + address, path: "/101", want: "switched protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(c.target)
			s.Health = &conf.HealthCheck{Path: c.path, Host: c.host, Statuses: c.statuses}
			s.CA.Path = c.ca
			target := draft(t, nil, s)[s].Targets()[0]
			err := target.checkWithin(t.Context(), patience)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A target that answers too late, or never to the end, is not well.
func TestCheckIsBounded(t *testing.T) {
	stop := make(chan struct{})
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begins" {
			w.(http.Flusher).Flush()
		}
		<-stop
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Config.Protocols.SetHTTP1(true)
	up.Start()
	t.Cleanup(func() { close(stop); up.Close() })
	for _, scheme := range []string{"http", "h2c"} {
		for _, path := range []string{"/silent", "/begins"} {
			s := spec(scheme + strings.TrimPrefix(up.URL, "http"))
			s.Health = &conf.HealthCheck{Path: path}
			err := draft(t, nil, s)[s].Targets()[0].checkWithin(t.Context(), 100*time.Millisecond)
			if err == nil || err.Error() != "not done within 100ms" {
				t.Errorf("%s%s: %v", scheme, path, err)
			}
		}
	}
}

// A target that checks have set aside stays so when its upstream changes, until they take it back; unless it is asked something else now, or
// nothing. Nobody but checks would.
func TestChecksOverChange(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*conf.Upstream)
		aside  bool
	}{
		"a target more":    {func(*conf.Upstream) {}, true},
		"another path":     {func(s *conf.Upstream) { s.Health.Path = "/other" }, false},
		"nothing is asked": {func(s *conf.Upstream) { s.Health = nil }, false},
		"another name":     {func(s *conf.Upstream) { s.Name = "other" }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWard("http://a", "http://b")
			w.falls("a", errBroken)
			w.Start()
			defer w.Close()
			pass(3)
			s := spec("http://a", "http://b", "http://c")
			health := *w.checks.HealthCheck
			health.Pos.Line = 7
			s.Health = &health
			c.change(s)
			next := draft(t, Set{&conf.Upstream{}: w.Upstream}, s)[s]
			for _, target := range next.targets {
				target.check = func(context.Context) error { return nil }
			}
			next.Start()
			defer next.Close()
			w.Retire()
			if got := firsts(next, 6); strings.Contains(got, "a") == c.aside {
				t.Errorf("%s: tried first: %q", name, got)
			}
			pass(3)
			if got := firsts(next, 6); !strings.Contains(got, "a") {
				t.Errorf("%s: after good checks: %q", name, got)
			}
		})
	}
}
