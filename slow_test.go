package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// attack is a way of slowhttptest's to hold connections.
type attack struct {
	name string
	args []string
}

// connections is how many an attack opens, attackTime how long it lasts, in seconds.
const connections, attackTime = 400, 20

var attacks = []attack{
	{"headers (-H)", []string{"-H", "-i", "5", "-x", "24"}},
	{"body (-B)", []string{"-B", "-i", "5", "-x", "10", "-s", "8192"}},
	{"read (-X)", []string{"-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"}},
}

// run runs the attack for some seconds.
func (a attack) run(t *testing.T, url string, seconds int) {
	t.Helper()
	args := append([]string{"-c", strconv.Itoa(connections), "-r", "200", "-l", strconv.Itoa(seconds), "-p", "3", "-u", url}, a.args...)
	cmd := exec.Command(tool(t, "slowhttptest"), args...)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("Test ended")) {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
}

// health is what a process has open and holds in memory.
type health struct{ files, kilobytes int }

func healthOf(t *testing.T, pid int) (h health) {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(rest, &h.kilobytes)
	h.files = len(open)
	return h
}

// probes are what a client sees that comes every 100 ms on a connection of its own.
type probes struct {
	asked, failed int
	slowest       time.Duration
	peak          health
	why           error // of the last that failed
}

// probe asks until stop is closed. The limit for each is a second.
func probe(t *testing.T, addr string, pid int, stop <-chan struct{}) (p probes) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return p
		case <-tick.C:
		}
		start := time.Now()
		if err := once(addr); err != nil {
			p.failed, p.why = p.failed+1, err
		}
		p.asked, p.slowest = p.asked+1, max(p.slowest, time.Since(start))
		now := healthOf(t, pid)
		p.peak = health{max(p.peak.files, now.files), max(p.peak.kilobytes, now.kilobytes)}
	}
}

func once(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	a, err := (&caller{c, bufio.NewReader(c)}).read(http.MethodGet)
	if err == nil && (a.StatusCode != http.StatusOK || a.text != "here") {
		err = fmt.Errorf("%s: %.80q", a.Status, a.text)
	}
	return err
}

// largeApp answers "/" with a word and "/large" with 8 MiB, after it has read the request's body.
func largeApp(t *testing.T) string {
	large := bytes.Repeat([]byte("0123456789abcdef"), 512<<10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/large" {
			w.Write(large)
			return
		}
		io.WriteString(w, "here")
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// slowEdge is edge before that app.
func slowEdge(t *testing.T, limit int) *proc {
	return start(t, "edge", fmt.Sprintf("state_dir = \"DIR/state\"\n[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\nprotocol = \"http\"\nmax_connections = %d\n"+
		"[[upstream]]\nname = \"app\"\ntargets = [\"%s\"]\ntimeouts = { idle = \"1s\" }\n"+
		"[[vhost]]\nhosts = [\"127.0.0.1\"]\nlisteners = [\"http\"]\nproxy = \"app\"\n", limit, largeApp(t)))
}

// besieged probes a listener while it is attacked.
func besieged(t *testing.T, p *proc, a attack, seconds int) (seen probes) {
	t.Helper()
	stop, addr, pid := make(chan struct{}), p.addr("http"), p.pid()
	var prober sync.WaitGroup
	prober.Go(func() { seen = probe(t, addr, pid, stop) })
	a.run(t, "http://"+addr+"/large", seconds)
	close(stop)
	prober.Wait()
	return seen
}

// Who holds hundreds of connections and hardly says or reads a word on them keeps nobody else out, and leaves nothing behind.
func TestSlowClients(t *testing.T) {
	doc := os.Getenv("CONFORMANCE")
	if doc == "" {
		t.Skip("more than a minute: part of `make conformance`")
	}
	b := new(strings.Builder)
	fmt.Fprintf(b, "| mode | descriptors before, at most, after | MB resident before, at most, after | probes | failed | slowest |\n|---|---|---|---|---|---|\n")
	p := slowEdge(t, 0)
	if err := once(p.addr("http")); err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks {
		before := healthOf(t, p.pid())
		seen := besieged(t, p, a, attackTime)
		if seen.failed > 0 || seen.asked < attackTime*3 {
			t.Errorf("%s: of %d probes %d failed: %v", a.name, seen.asked, seen.failed, seen.why)
		}
		if seen.peak.files < before.files+connections*9/10 {
			t.Errorf("%s held no more than %d descriptors: it was no attack", a.name, seen.peak.files-before.files)
		}
		var after health
		until(t, "the descriptors are back", func() bool { after = healthOf(t, p.pid()); return after.files <= before.files })
		fmt.Fprintf(b, "| %s | %d, %d, %d | %d, %d, %d | %d | %d | %d ms |\n", a.name, before.files, seen.peak.files, after.files,
			before.kilobytes>>10, seen.peak.kilobytes>>10, after.kilobytes>>10, seen.asked, seen.failed, seen.slowest.Milliseconds())
	}
	limited := besieged(t, slowEdge(t, 50), attacks[0], 5)
	if limited.failed == 0 {
		t.Error("with a limit of 50 connections no probe fails: the probe sees nothing")
	}
	fmt.Fprintf(b, "\nTo show that a probe can fail: with `max_connections = 50`, %d of %d did, of 5 s in the first mode.\n", limited.failed, limited.asked)
	put(t, doc, "slow", b.String())
}
