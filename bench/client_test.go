package main

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve gives a lab, and a process that stands for a handler served over TLS as all contestants do.
func serve(t *testing.T, handler http.HandlerFunc, change func(*tls.Config)) (*lab, *process) {
	t.Helper()
	l := &lab{dir: t.TempDir(), ports: map[string]site{}}
	if err := l.furnish(); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(l.site.Cert, l.site.Key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	if change != nil {
		change(s.TLS)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of bad answers it says much
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return l, &process{site: site{TLS: s.Listener.Addr().(*net.TCPAddr).Port}}
}

func answer(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", kib)) }

var fewConns = work{path: "/1k", size: kib, conns: 2, rate: 100}

func TestHandshakes(t *testing.T) {
	l, p := serve(t, answer, nil)
	for name, load := range map[string]loader{"full": (*lab).fullHandshakes, "resumed": (*lab).resumedHandshakes} {
		got, err := load(l, t.Context(), fewConns, p, 50*time.Millisecond)
		if err != nil || got.requests < 2 || got.p50 <= 0 || got.p99 < got.p50 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestHandshakesTellTrouble(t *testing.T) {
	for name, change := range map[string]func(*tls.Config){
		"no tickets":   func(c *tls.Config) { c.SessionTicketsDisabled = true },
		"other cipher": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"other curve":  func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} },
		"other name":   func(c *tls.Config) { c.NextProtos = []string{"h2"} },
	} {
		l, p := serve(t, answer, change)
		if _, err := l.resumedHandshakes(t.Context(), fewConns, p, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVisits(t *testing.T) {
	l, p := serve(t, answer, nil)
	visits, err := l.open(t.Context(), fewConns, p, 100)
	defer closeAll(visits)
	if err != nil {
		t.Fatal(err)
	}
	if err := visits[99].alive(); err != nil {
		t.Error(err)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"short":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") },
		"status":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503); answer(w, r) },
		"closing": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close"); answer(w, r) },
	} {
		l, p := serve(t, handler, nil)
		visits, err := l.open(t.Context(), fewConns, p, 1)
		closeAll(visits)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVisitThatWasClosed(t *testing.T) {
	var s *http.Server
	l, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s = r.Context().Value(http.ServerContextKey).(*http.Server)
		answer(w, r)
	}, nil)
	visits, err := l.open(t.Context(), fewConns, p, 1)
	defer closeAll(visits)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil { // which closes what is idle
		t.Fatal(err)
	}
	if err := visits[0].alive(); err == nil {
		t.Error("the server has closed the connection, and that is no error")
	}
}

// 100 a second for half a second, on two connections.
func TestOnSchedule(t *testing.T) {
	l, p := serve(t, answer, nil)
	got, err := l.onSchedule(t.Context(), fewConns, p, 500*time.Millisecond)
	if err != nil || got.requests != 50 {
		t.Errorf("got %+v, %v, want 50 requests", got, err)
	}
}

// A request that waits for the answer before it counts from when it was due.
func TestOnScheduleCountsWaiting(t *testing.T) {
	slow := make(chan struct{}, 1)
	slow <- struct{}{}
	l, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-slow:
		default:
			time.Sleep(100 * time.Millisecond) // the server that is measured is slow
			slow <- struct{}{}
		}
		answer(w, r)
	}, nil)
	one := fewConns
	one.conns, one.rate = 1, 50
	got, err := l.onSchedule(t.Context(), one, p, 400*time.Millisecond)
	// 20 ms between two; each second answer takes 100 ms, so that all wait, the last the longest.
	if err != nil || got.requests != 20 || got.p99 < 400*time.Millisecond {
		t.Errorf("got %+v, %v", got, err)
	}
}

// unary answers a call as gRPC does.
func unary(w http.ResponseWriter, r *http.Request) {
	question, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	if r.URL.Path == grpcMethod && r.Header.Get("Te") == "trailers" && slices.Equal(question, grpcQuestion) {
		w.Write(grpcAnswer)
		w.Header().Set("Grpc-Status", "0")
	} else {
		w.Header().Set("Grpc-Status", "12")
	}
}

func TestGRPC(t *testing.T) {
	l, p := serve(t, unary, nil)
	got, err := l.grpc(t.Context(), fewConns, p, 200*time.Millisecond)
	if err != nil || got.requests < 2*grpcStreams {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestGRPCTellsTrouble(t *testing.T) {
	with := func(status int, kind, grpcStatus string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			w.Write(body)
			if grpcStatus != "" {
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", grpcStatus)
			}
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"status":      with(502, "application/grpc", "0", grpcAnswer),
		"kind":        with(200, "text/html", "0", grpcAnswer),
		"gRPC status": with(200, "application/grpc", "14", grpcAnswer),
		"no trailers": with(200, "application/grpc", "", grpcAnswer),
		"message":     with(200, "application/grpc", "0", grpcAnswer[1:]),
		"no message":  with(200, "application/grpc", "0", nil),
	} {
		l, p := serve(t, handler, nil)
		if _, err := l.grpc(t.Context(), fewConns, p, 10*time.Millisecond); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A reload is over once a new connection gets the other word. A connection that is cut off has not seen it.
func TestReloadIsSeen(t *testing.T) {
	words, asked := []string{"first", "first", "", "first", "first+", "first+", "third", "first++"}, atomic.Int64{}
	l, p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		word := words[asked.Add(1)-1]
		if word == "" {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, word)
	}, nil)
	p.site.Dir, p.site.Word, p.site.Vhosts = t.TempDir(), "first", vhosts(2)
	p.server = server{config: edge.config, reload: []string{"CONF"}}
	l.programs = map[string]string{"": "/bin/true"}
	p.cmd = command(t.Context())
	got, err := l.reload(t.Context(), p)
	if err != nil || asked.Load() != 5 || got.duration <= 0 || p.site.Word != "first+" {
		t.Errorf("got %+v, %v, after %d requests", got, err, asked.Load())
	}
	if _, err := l.reload(t.Context(), p); err == nil {
		t.Error("another word than both is no error")
	}
}

func TestMemoryWatch(t *testing.T) {
	cmd := command(t.Context())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watch := watchMemory(&process{cmd: cmd})
	for deadline := time.Now().Add(10 * time.Second); memory(cmd.Process.Pid) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // until it is there
	}
	time.Sleep(30 * time.Millisecond) // several looks
	peak := watch.end()
	cmd.Process.Kill()
	cmd.Wait()
	if peak < 100*kib || peak > 100*mib {
		t.Errorf("the peak of sleep is %d bytes", peak)
	}
}

// command is a process that waits.
func command(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, "sleep", "60") }
