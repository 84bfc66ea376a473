package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge/reload/drill"
)

// underLoad runs strict clients of every kind against an edge while change changes it, and gives what they saw.
func underLoad(t *testing.T, p *proc, change func()) map[string]*drill.Report {
	t.Helper()
	h1, h2 := p.dialer("https", p.clientTLS("app.localhost", "http/1.1")), p.dialer("https", p.clientTLS("app.localhost", "h2"))
	plain := p.dialer("http", nil)
	const base = "http://app.localhost" // what stands in the request; the connection is made already
	clients := map[string]drill.Client{
		"h1 kept, no pause":    drill.KeepAlive(plain, base, 0),
		"h1 kept, 20 ms":       drill.KeepAlive(plain, base, 20*time.Millisecond),
		"h1 kept, 20 ms, TLS":  drill.KeepAlive(h1, base, 20*time.Millisecond),
		"h1 kept, 300 ms, TLS": drill.KeepAlive(h1, base, 300*time.Millisecond),
		"h1 each anew":         drill.EachAnew(plain, base, 0),
		"h1 each anew, TLS":    drill.EachAnew(h1, base, 0),
		"h2":                   drill.Streams(h2, "https://app.localhost", 8, 0),
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		change()
	}()
	reports := drill.Run(ctx, 4, clients)
	for name, r := range reports {
		t.Logf("%-22s %v", name, r)
	}
	return reports
}

// origin is the server behind the edge under test.
func origin(t *testing.T) (*drill.Origin, string) {
	o := &drill.Origin{}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	return o, strings.TrimPrefix(srv.URL, "http://")
}

// settle lets the clients run for a while without any change, so that a mistake shows in what follows only.
func settle() { time.Sleep(500 * time.Millisecond) } // the length of a load, not a wait for something

// Five new processes in a row, and after them as many reloads, under clients that never retry: not one request fails, no idle connection is
// closed, nothing is executed twice; and every old process ends by itself.
func TestUpgradeLosesNothing(t *testing.T) {
	o, addr := origin(t)
	p := start(t, "edge", config+relayTo(addr))
	first := p.pid()
	reports := underLoad(t, p, func() {
		settle()
		for range 5 {
			p.upgrade()
			settle()
		}
		for range 5 {
			p.reload()
		}
		settle()
	})
	for name, r := range reports {
		if r.Failed != 0 || r.ClosedUnder != 0 || r.OK < 50 {
			t.Errorf("%s: %v", name, r)
		}
	}
	if n := o.Twice(); n != 0 {
		t.Errorf("%d requests were executed twice", n)
	}
	if p.pid() == first {
		t.Error("the pid file still names the first process")
	}
	until(t, "the old processes have ended", func() bool { return len(p.alive()) == 1 })
}

// The same under a process that drains as net/http does by itself: clients lose requests, or the test above could not fail.
func TestUpgradeByShutdownLoses(t *testing.T) {
	_, addr := origin(t)
	p := start(t, "edge-shutdown", config+relayTo(addr))
	reports := underLoad(t, p, func() {
		for range 8 {
			settle()
			p.upgrade()
		}
	})
	var h1 int64
	for name, r := range reports {
		if name != "h2" {
			h1 += r.Failed
		}
	}
	if h1 == 0 {
		t.Error("http.Server.Shutdown lost no HTTP/1.1 request: the clients are not strict")
	}
	if reports["h2"].Failed == 0 {
		t.Error("http.Server.Shutdown lost no HTTP/2 stream: the clients are not strict")
	}
}

// One GOAWAY in place of two refuses the streams that cross it.
func TestUpgradeByOneGoawayLoses(t *testing.T) {
	_, addr := origin(t)
	p := start(t, "edge-onegoaway", config+relayTo(addr))
	reports := underLoad(t, p, func() {
		for range 5 {
			settle()
			p.upgrade()
		}
	})
	if reports["h2"].Failed == 0 {
		t.Error("a single GOAWAY lost no stream: the clients are not strict")
	}
}

// A program that cannot take over leaves the process as it was, which says why; the next good one takes over (R15).
func TestChildThatCannotStart(t *testing.T) {
	_, addr := origin(t)
	p := start(t, "edge", config+relayTo(addr))
	first := p.pid()
	good := config + relayTo(addr)
	reports := underLoad(t, p, func() {
		settle()
		write(t, p.dir, "no TOML at all")
		p.signal(syscall.SIGUSR2)
		p.waitLog("upgrade failed")
		write(t, p.dir, good+"[[listener]]\nname = \"taken\"\nprotocol = \"http\"\naddress = \""+addr+"\"\n")
		p.signal(syscall.SIGUSR2)
		p.waitLogs("upgrade failed", 2)
		settle()
		if p.pid() != first {
			t.Error("the pid file names another process")
		}
		write(t, p.dir, good)
		p.upgrade()
		settle()
	})
	for name, r := range reports {
		if r.Failed != 0 || r.ClosedUnder != 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
	for _, why := range []string{"edge.toml:1:", "listens there"} {
		if p.count(why) == 0 {
			t.Errorf("the log does not say why: %s", why)
		}
	}
	if p.pid() == first {
		t.Error("the good program has not taken over")
	}
}

// A new process that hangs in its probation, dies, or is told to stop there, is taken back, and nobody is refused meanwhile (R19).
func TestTakenBackInProbation(t *testing.T) {
	for name, do := range map[string]func(child int){
		"hangs":       func(child int) { syscall.Kill(child, syscall.SIGSTOP) },
		"told to end": func(child int) { syscall.Kill(child, syscall.SIGTERM) },
		"killed":      func(child int) { syscall.Kill(child, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(config, `probation = "200ms"`, `probation = "20s"`, 1)
			p := start(t, "edge", strings.Replace(text, `stop = "5s"`, `stop = "1s"`, 1)+"[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"here\" }\n")
			first := p.pid()
			p.signal(syscall.SIGUSR2)
			until(t, "the new process is there", func() bool { return len(p.alive()) == 2 })
			p.waitLog("upgrade: the new process serves")
			for _, pid := range p.alive() {
				if pid != first {
					do(pid)
				}
			}
			p.waitLog("upgrade failed")
			until(t, "the new process has ended", func() bool { return len(p.alive()) == 1 })
			if got := p.curl("http", "a.localhost", "/"); got != "here" || p.pid() != first {
				t.Errorf("after it %q, by process %d, was %d", got, p.pid(), first)
			}
			p.upgradeWithin(config + "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"new\" }\n")
			if got := p.curl("http", "a.localhost", "/"); got != "new" {
				t.Errorf("after the good upgrade: %q", got)
			}
		})
	}
}

// upgradeWithin puts a configuration in force, and then replaces the process.
func (p *proc) upgradeWithin(text string) {
	p.t.Helper()
	write(p.t, p.dir, text)
	p.reload()
	p.upgrade()
}

// A new process that panics again and again in its probation is taken back, and the log says why (R19). The answers are the new process's own, and whole.
func TestTakenBackForPanics(t *testing.T) {
	text := strings.Replace(config, `probation = "200ms"`, `probation = "60s"`, 1)
	p := start(t, "edge-panics", strings.Replace(text, `stop = "5s"`, `stop = "1s"`, 1)+"[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"here\" }\n")
	first := p.pid()
	if got := p.curl("http", "a.localhost", "/"); got != "here" {
		t.Fatalf("before it: %q", got)
	}
	p.signal(syscall.SIGUSR2)
	p.waitLog("upgrade: the new process serves")
	for range 3 {
		p.curl("http", "a.localhost", "/")
	}
	p.waitLog("upgrade failed")
	if p.count("in probation: the new process has panicked 3 times in 3 requests, the old one 0 times in 1") == 0 {
		t.Error("the log does not say why")
	}
	until(t, "the new process has ended", func() bool { return len(p.alive()) == 1 })
	if got := p.curl("http", "a.localhost", "/"); got != "here" || p.pid() != first {
		t.Errorf("after it %q, by process %d, was %d", got, p.pid(), first)
	}
}
