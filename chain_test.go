package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"edge/edge/serve"
)

// scrape is what a metrics listener tells, and which families count.
type scrape struct {
	values  map[string]float64
	counted map[string]bool // series that may never go back
}

// scraper asks a metrics listener as Prometheus does: over connections that are kept until end, or each time anew.
func (p *proc) scraper(keep bool) (ask func() (scrape, error), end func()) {
	addr := p.addr("metrics")
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: !keep, MaxIdleConnsPerHost: 1, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}}
	p.t.Cleanup(client.CloseIdleConnections)
	return func() (scrape, error) {
		resp, err := client.Get("http://metrics/metrics")
		if err != nil {
			return scrape{}, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(resp.Body)
			return scrape{}, fmt.Errorf("%s: %s", resp.Status, text)
		}
		return readScrape(resp.Body)
	}, client.CloseIdleConnections
}

func readScrape(r io.Reader) (scrape, error) {
	s := scrape{map[string]float64{}, map[string]bool{}}
	kinds := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 4 && f[1] == "TYPE" {
			kinds[f[2]] = f[3]
			continue
		}
		i := strings.LastIndexByte(lines.Text(), ' ')
		if i < 0 || lines.Text()[0] == '#' {
			continue
		}
		series := lines.Text()[:i]
		v, err := strconv.ParseFloat(lines.Text()[i+1:], 64)
		if err != nil {
			return s, err
		}
		name, _, _ := strings.Cut(series, "{")
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		s.values[series] = v
		s.counted[series] = kinds[name] == "counter" || kinds[base] == "histogram" || kinds[base] == "summary" && base != name
	}
	return s, lines.Err()
}

// sum adds up the series of a family that have a label.
func (s scrape) sum(family, label string) (n float64) {
	for series, v := range s.values {
		if strings.HasPrefix(series, family+"{") && strings.Contains(series, label) {
			n += v
		}
	}
	return n
}

// watchCounters scrapes without a pause, over kept and new connections, until enough is called. No counter may go back from scrape to scrape, nor be gone.
func watchCounters(p *proc, scrapes *atomic.Int64) (enough func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	kept, end := p.scraper(true)
	anew, _ := p.scraper(false)
	scrapers := []func() (scrape, error){kept, anew}
	go func() {
		defer close(stopped)
		defer end()
		var before scrape
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			now, err := scrapers[n%2]()
			if err != nil {
				p.t.Errorf("scrape %d: %v", n, err)
				return
			}
			for series := range before.counted {
				if v, is := now.values[series]; before.counted[series] && (!is || v < before.values[series]-1e-6) {
					p.t.Errorf("scrape %d, of generation %v: %s is %v (%v), was %v in generation %v",
						n, now.values["edge_generation"], series, v, is, before.values[series], before.values["edge_generation"])
					return
				}
			}
			before = now
			scrapes.Add(1)
		}
	}()
	return func() { close(stop); <-stopped }
}

// No counter goes back over upgrades and reloads, whichever process is asked; and in the end all requests of all generations are counted once (R58).
func TestCountersNeverGoBack(t *testing.T) {
	_, addr := origin(t)
	p := start(t, "edge", config+metricsListener+relayTo(addr))
	var scrapes atomic.Int64
	enough := watchCounters(p, &scrapes)
	upgrades := 0
	scraped := func() { // over both kinds of connections
		n := scrapes.Load()
		until(t, "the metrics are asked for", func() bool { return scrapes.Load() >= n+3 || t.Failed() })
	}
	reports := underLoad(t, p, func() {
		for range 4 { // the third process folds what the first has counted, which has ended
			p.upgrade()
			upgrades++
			scraped()
			p.reload()
			scraped()
		}
		settle()
	})
	enough()
	var asked int64
	for name, r := range reports {
		if asked += r.OK; r.Failed != 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
	scrape, _ := p.scraper(false)
	counted := func(family string) float64 {
		now, err := scrape()
		if err != nil {
			t.Fatal(err)
		}
		return now.sum(family, `vhost="app.localhost"`)
	}
	for _, family := range []string{"edge_http_requests_total", "edge_http_request_duration_seconds_count"} {
		until(t, fmt.Sprintf("%s is %d", family, asked), func() bool { return counted(family) == float64(asked) })
	}
	until(t, "the old processes have ended", func() bool { return len(p.alive()) == 1 })
	if got := counted("edge_http_requests_total"); got != float64(asked) {
		t.Errorf("when they have: %v, want %d", got, asked)
	}
	now, err := scrape()
	if err != nil || now.values[`edge_upgrades_total{result="ok"}`] != float64(upgrades) || now.values[`edge_reloads_total{result="ok"}`] != float64(upgrades) {
		t.Errorf("%v upgrades, %v reloads are counted, want %d; %v", now.values[`edge_upgrades_total{result="ok"}`], now.values[`edge_reloads_total{result="ok"}`], upgrades, err)
	}
}

// The account is that of the chain: opened = finished + open + cut over all its generations, those that have ended and one that was killed too, and what was shown
// of that one's counters stays (R58).
func TestAccountOfChain(t *testing.T) {
	addr, entered, leave := heldApp(t)
	p := start(t, "edge", config+metricsListener+relayTo(addr))
	defer close(leave)
	first := p.pid()
	const here = `edge_http_requests_total{code="2xx",method="GET",vhost="app.localhost"}`
	lost := make(chan error, 1)
	go func() {
		_, err := p.tryCurl("http", "app.localhost", "/held")
		lost <- err
	}()
	<-entered
	quick := func() { p.curl("http", "here.localhost", "/") } // it is answered by edge itself: 404
	for range 5 {
		quick()
	}
	const strays = `edge_http_requests_total{code="4xx",method="GET",vhost="-"}`
	p.upgrade()
	quick()
	p.wantMetrics(map[string]string{strays: "6"})
	opened := p.status().Account.Opened
	if opened < 7 {
		t.Errorf("%d connections were opened", opened)
	}
	syscall.Kill(first, syscall.SIGKILL)
	if err := <-lost; err == nil {
		t.Error("the request of the process that was killed succeeds")
	}
	until(t, "the first process has ended", func() bool { return len(p.alive()) == 1 })
	p.wantMetrics(map[string]string{strays: "6", here: "0"})
	for range 3 {
		p.upgrade()
		quick()
	}
	until(t, "the old processes have ended", func() bool { return len(p.alive()) == 1 })
	p.wantMetrics(map[string]string{strays: "9"})
	tree := p.status()
	a := tree.Account
	if a.Opened < opened+3 || a.Opened != serve.Sum(a.Finished)+uint64(a.Open)+serve.Sum(a.Cut) || a.Cut[serve.Killed] != 1 {
		t.Errorf("the account: %+v; before it %d were opened", a, opened)
	}
	if len(tree.Generations) != 1 || tree.Ended.Opened == 0 || tree.Ended.Open != 0 || tree.Ended.Opened+tree.Generations[0].Account.Opened != a.Opened {
		t.Errorf("of those that have ended: %+v; of the others: %+v", tree.Ended, tree.Generations)
	}
}

// A process that gives no answer does not keep the others from telling: what it told last counts.
func TestCountersOfSilent(t *testing.T) {
	addr, entered, leave := heldApp(t)
	p := start(t, "edge", config+metricsListener+relayTo(addr))
	first := p.pid()
	go p.tryCurl("http", "app.localhost", "/held")
	<-entered
	p.curl("http", "here.localhost", "/")
	p.upgrade()
	const strays = `edge_http_requests_total{code="4xx",method="GET",vhost="-"}`
	p.wantMetrics(map[string]string{strays: "1", `edge_http_requests_in_flight{listener="http"}`: "1"})
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p.wantMetrics(map[string]string{strays: "1", `edge_http_requests_in_flight{listener="http"}`: "1"})
	if took := time.Since(begun); took > soon {
		t.Errorf("it takes %v", took)
	}
	syscall.Kill(first, syscall.SIGCONT)
	close(leave)
	until(t, "the first process has ended", func() bool { return len(p.alive()) == 1 })
	p.wantMetrics(map[string]string{strays: "1", `edge_http_requests_in_flight{listener="http"}`: "0"})
}

// A new start begins a new chain: its counters and its account are its own.
func TestCountersBeginAnew(t *testing.T) {
	dir := t.TempDir()
	text := config + metricsListener + saysOne
	p := startIn(t, dir, "edge", text)
	p.upgrade()
	p.curl("http", "app.localhost", "/")
	p.end()
	again := startIn(t, dir, "edge", text)
	again.wantMetrics(map[string]string{`edge_http_requests_total{code="2xx",method="GET",vhost="app.localhost"}`: "0", `edge_upgrades_total{result="ok"}`: "0"})
	if a := again.status(); a.Ended.Opened != 0 {
		t.Errorf("of the processes before: %+v", a.Ended)
	}
}
