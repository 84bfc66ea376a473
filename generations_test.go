package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// heldApp is a server whose answers wait, after their first word, until leave is closed.
func heldApp(t *testing.T) (addr string, entered chan struct{}, leave chan struct{}) {
	t.Helper()
	entered, leave = make(chan struct{}, 8), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		entered <- struct{}{}
		<-leave
		io.WriteString(w, "last")
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://"), entered, leave
}

// While older generations drain more upgrades are allowed, up to max_generations; then they are refused, and what is being downloaded from the oldest is not
// touched (R24). A process that drains refuses upgrades too (R23).
func TestMaxGenerations(t *testing.T) {
	addr, entered, leave := heldApp(t)
	p := start(t, "edge", strings.Replace(config, "[upgrade]\n", "[upgrade]\nmax_generations = 3\n", 1)+relayTo(addr))
	first := p.pid()
	answers := make(chan string, 2)
	hold := func() {
		go func() {
			out, err := p.tryCurl("http", "app.localhost", "/")
			answers <- fmt.Sprint(out, err)
		}()
		<-entered
	}
	hold()
	p.upgrade()
	hold()
	p.upgrade()
	if n := len(p.alive()); n != 3 {
		t.Fatalf("%d generations are alive", n)
	}
	p.signal(syscall.SIGUSR2)
	p.waitLog("3 generations are alive")
	syscall.Kill(first, syscall.SIGUSR2)
	p.waitLog(`upgrade refused" because="in progress: drain"`)
	if n := len(p.alive()); n != 3 {
		t.Errorf("%d generations are alive after the upgrades that were refused", n)
	}
	close(leave)
	for range 2 {
		if got := <-answers; got != "first last<nil>" {
			t.Errorf("a download: %q", got)
		}
	}
	until(t, "the old processes have ended", func() bool { return len(p.alive()) == 1 })
	p.upgrade()
}

// A request finishes on the configuration that it began with, whatever is put in force meanwhile (R37).
func TestRequestKeepsItsConfiguration(t *testing.T) {
	addr, entered, leave := heldApp(t)
	p := start(t, "edge", config+relayTo(addr))
	answer := make(chan string, 1)
	go func() {
		out, err := p.tryCurl("http", "app.localhost", "/")
		answer <- fmt.Sprint(out, err)
	}()
	<-entered
	for n := range 20 {
		body := fmt.Sprintf("now %d", n)
		write(t, p.dir, config+strings.Replace(relayTo(addr), `proxy = "http://`+addr+`"`, `respond = { body = "`+body+`" }`, 1))
		p.reload()
		if got := p.curl("http", "app.localhost", "/"); got != body {
			t.Fatalf("after a reload: %q, want %q", got, body)
		}
	}
	close(leave)
	if got := <-answer; got != "first last<nil>" {
		t.Errorf("the request from before: %q", got)
	}
}

// A listener that the new process's configuration does not name is closed by the upgrade: nobody hangs in a queue that nobody looks at (R7).
func TestUpgradeRemovesListener(t *testing.T) {
	const extra = "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.9:0\"\nprotocol = \"http\"\nredirect_to = \"https\"\n"
	p := start(t, "edge", config+extra)
	addr := p.addr("extra")
	wants(t, p.curl("extra", "a.localhost", "/", "-i"), " 308")
	write(t, p.dir, config)
	p.upgrade()
	until(t, "the removed listener refuses", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// A storm of HUP over an upgrade, to the process that serves and to whatever it starts: a child that it kills before it can hear is taken back like any other
// (R10), the pid file always holds a whole number (R63), and when it is over the next upgrade takes over.
func TestStormOfHUP(t *testing.T) {
	p := start(t, "edge", config+hereSite)
	stop, stopped := make(chan struct{}), make(chan struct{})
	file := filepath.Join(p.dir, "state", "edge.pid")
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			text, err := os.ReadFile(file)
			pid, numErr := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
			if err != nil || numErr != nil {
				t.Errorf("the pid file holds %q: %v", text, err)
				return
			}
			syscall.Kill(pid, syscall.SIGHUP)
			children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
			for _, f := range strings.Fields(string(children)) {
				if child, err := strconv.Atoi(f); err == nil {
					syscall.Kill(child, syscall.SIGHUP)
				}
			}
		}
	}()
	over := func() int { return p.count(`msg="this process has taken over"`) + p.count("upgrade failed") }
	for range 4 {
		n := over()
		until(t, "an upgrade is over", func() bool { // one may be refused, while a reload runs that an upgrade waits for already
			p.signal(syscall.SIGUSR2)
			return over() > n
		})
		if got := p.curl("http", "a.localhost", "/"); got != "here" {
			t.Fatalf("in the storm: %q", got)
		}
	}
	close(stop)
	<-stopped
	until(t, "one process is left", func() bool { return len(p.alive()) == 1 })
	p.upgrade()
}

// Who has used up a rate limit has used it up in the next generation too; one that is another now begins anew (R56).
func TestRatesSurviveUpgrade(t *testing.T) {
	site := func(spec string) string {
		return config + "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\nrate_limit = { " + spec + " }\nrespond = { body = \"here\" }\n"
	}
	p := start(t, "edge", site(`requests = 3, per = "1h"`))
	for range 3 {
		wants(t, p.curl("http", "a.localhost", "/", "-i"), " 200")
	}
	for range 2 {
		wants(t, p.curl("http", "a.localhost", "/", "-i"), " 429")
		p.upgrade()
	}
	wants(t, p.curl("http", "a.localhost", "/", "-i"), " 429")
	write(t, p.dir, site(`requests = 4, per = "1h"`))
	p.upgrade()
	wants(t, p.curl("http", "a.localhost", "/", "-i"), " 200")
}
