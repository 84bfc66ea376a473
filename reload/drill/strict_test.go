package drill

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func reusePort(_, _ string, c syscall.RawConn) (err error) {
	if cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); cerr != nil {
		return cerr
	}
	return err
}

// altered is an Origin whose answers pass through alter.
func altered(alter func([]byte) []byte) http.HandlerFunc {
	o := new(Origin)
	return func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		o.ServeHTTP(rec, r)
		w.WriteHeader(rec.Code)
		w.Write(alter(rec.Body.Bytes()))
	}
}

// Each client takes every byte seriously: an answer that is altered, that is short, or another status, or none at all, is a failure, and one
// that is whole is not. A wrong answer or status is never excused, an error is; if its listener was taken away, it is told that its connection was open.
func TestStrict(t *testing.T) {
	clients := map[string]func(Dial, string) Client{
		"kept":      func(d Dial, base string) Client { return KeepAlive(d, base, 0) },
		"anew":      func(d Dial, base string) Client { return EachAnew(d, base, 0) },
		"POST":      func(d Dial, base string) Client { return Posts(d, base, 0) },
		"paced":     func(d Dial, base string) Client { return Paced(d, base, time.Millisecond, false) },
		"pipelined": func(d Dial, base string) Client { return Pipelined(d, base, 0) },
		"upload":    Uploads,
		"download":  Downloads,
	}
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		return b
	}
	servers := map[string]struct {
		handler         http.Handler
		failed, excused bool
	}{
		"as it should be": {handler: new(Origin)},
		"a flipped bit":   {handler: altered(flip), failed: true},
		"a short answer":  {handler: altered(func(b []byte) []byte { return b[:len(b)-1] }), failed: true},
		"another status": {handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }),
			failed: true},
		"no answer": {handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), failed: true, excused: true},
	}
	for clientName, client := range clients {
		for serverName, server := range servers {
			if slow := clientName == "upload" || clientName == "download"; slow && serverName != "as it should be" && serverName != "a flipped bit" {
				continue // each takes a second
			}
			t.Run(clientName+", "+serverName, func(t *testing.T) {
				t.Parallel()
				srv := httptest.NewServer(server.handler)
				defer srv.Close()
				dial := func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
				}
				for _, x := range excuses(server.failed) {
					r := once(client(dial, "http://a.test"), func() excuse { return x })
					want := server.failed && !(x != none && server.excused)
					if (r.Failed > 0) != want || (r.OK > 0) == server.failed || server.failed && !want && r.Apart == 0 {
						t.Errorf("excuse %v: %v", x, r)
					}
					if clientName != "pipelined" && (r.CutAway > 0) != (server.excused && x == away) { // which leaves the second of two answers where the first is wrong
						t.Errorf("excuse %v: of open connections %d; %v", x, r.CutAway, r)
					}
				}
			})
		}
	}
}

// excuses are why the drill may excuse an error; where none is expected there is nothing to excuse.
func excuses(failed bool) []excuse {
	if failed {
		return []excuse{none, away, killed}
	}
	return []excuse{none}
}

// A connect is excused by what was so when it began, and no open connection is lost by it: the error is looked at when it may be over.
func TestExcusedConnect(t *testing.T) {
	ln := listen(t)
	ln.Close()
	for _, x := range []excuse{none, away, killed} {
		now := x
		r := newReport(func() excuse { return now })
		dial := func(ctx context.Context) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
			now = none
			return c, err
		}
		open(dial, r)
		if r.Refused != 1 || r.CutAway != 0 || (r.Apart == 1) != (x != none) || (r.Failed == 1) != (x == none) {
			t.Errorf("excuse %v: %v", x, r)
		}
	}
}

// once runs a client until it has seen one answer at least, or one failure.
func once(c Client, excused func() excuse) *Report {
	ctx, cancel := context.WithCancel(context.Background())
	r := newReport(excused)
	go func() {
		defer cancel()
		for {
			r.mu.Lock()
			seen := r.OK + r.Failed + r.Apart
			r.mu.Unlock()
			if seen > 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	c(ctx, r)
	return r
}

// A server that closes an idle connection is found out.
func TestClosedIdle(t *testing.T) {
	srv := httptest.NewUnstartedServer(new(Origin))
	srv.Config.IdleTimeout = 10 * time.Millisecond
	srv.Start()
	defer srv.Close()
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if r := Run(ctx, 1, map[string]Client{"": KeepAlive(dial, "http://a.test", 100*time.Millisecond)})[""]; r.ClosedUnder == 0 {
		t.Error(r)
	}
}

// What is executed twice is counted, by kind.
func TestTwice(t *testing.T) {
	o := new(Origin)
	for _, id := range []int64{7<<kindShift | 4, 7<<kindShift | 4, 7<<kindShift | 4, 8<<kindShift | 4} {
		req, _, err := newRequest(http.MethodPost, "http://a.test", id)
		if err != nil {
			t.Fatal(err)
		}
		o.ServeHTTP(httptest.NewRecorder(), req)
	}
	if n, kinds := o.Twice(), o.executions(); n != 2 || kinds[7] != 2 || kinds[8] != 0 {
		t.Errorf("%d twice, %v", n, kinds)
	}
}

// Far delays what goes either way by half the round trip, the end as well, and changes no byte; and both sides may end one after the other.
func TestFar(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go echo(ln)
	const roundTrip = 60 * time.Millisecond
	dial := Far(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}, roundTrip)
	c, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	sent := strings.Repeat("0123456789abcdef", 10000)
	go func() {
		io.WriteString(c, sent)
		c.(*net.UnixConn).CloseWrite()
	}()
	c.Read(nil)
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil || time.Since(began) < roundTrip {
		t.Errorf("the first byte after %v, %v", time.Since(began), err)
	}
	rest, err := io.ReadAll(c)
	if got := string(first) + string(rest); got != sent || err != nil {
		t.Errorf("%d bytes of %d, or others, %v", len(got), len(sent), err)
	}
}

// A socket that blocks is found out (R1): what File and Fd make of a listener's, in every process that has it.
func TestBlocking(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return blocking(os.Getpid(), fds)
	}
	before := count()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Fd() // as os.StartProcess does
	if n := count(); n != before+2 {
		t.Errorf("%d sockets block, %d did before: the listener's and its copy should too", n, before)
	}
}

// The table says what was lost, and Lost says whether anything was.
func TestLost(t *testing.T) {
	for name, change := range map[string]func(*Result){
		"nothing":     func(*Result) {},
		"a failure":   func(r *Result) { r.rows[0].fail("reading", io.ErrUnexpectedEOF) },
		"twice":       func(r *Result) { r.rows[0].twice = 1 },
		"closed idle": func(r *Result) { r.rows[0].closedUnder() },
		"a problem":   func(r *Result) { r.problem("it is no edge") },
	} {
		r := newResult()
		r.rows = []*row{{kind: kind{name: "some"}, Report: newReport(nil)}}
		r.rows[0].ok(time.Now())
		change(r)
		var b strings.Builder
		if err := r.Print(&b); err != nil {
			t.Fatal(err)
		}
		if r.Lost() != (name != "nothing") {
			t.Errorf("%s: lost is %v", name, r.Lost())
		}
		if name == "a failure" && !strings.Contains(b.String(), "FAILED: some, 0 ms away: 1 times reading: unexpected EOF") {
			t.Error(fmt.Sprint(name, b.String()))
		}
	}
}
