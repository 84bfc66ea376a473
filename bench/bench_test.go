package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"text/template"
	"time"
)

const wrkOutput = `Running 3s test @ https://127.0.0.1:8443/1k
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.95ms    1.02ms  21.50ms   92.10%
    Req/Sec    71.90k     5.11k   80.01k    66.67%
  Latency Distribution
     50%  738.00us
     75%    1.05ms
     90%    2.01ms
     99%    1.57s 
  215400 requests in 3.00s, 241.35MB read
Requests/sec:  71800.00
Transfer/sec:     80.45MB
`

func TestParseWrk(t *testing.T) {
	got, err := parseWrk(wrkOutput, kib)
	want := load{requests: 215400, p50: 738 * time.Microsecond, p99: 1570 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for unit, factor := range map[string]float64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		out := strings.Replace(wrkOutput, "215400 requests in 3.00s, 241.35MB", "2 requests in 3.00s, 4.00"+unit+"B", 1)
		if _, err := parseWrk(out, int(2*factor)); err != nil {
			t.Errorf("4.00%sB for 2 requests: %v", unit, err)
		}
		if _, err := parseWrk(out, int(2*factor)+1+int(factor/10)); err == nil {
			t.Errorf("4.00%sB for 2 requests: no error for larger bodies", unit)
		}
	}
}

func TestParseWrkTellsTrouble(t *testing.T) {
	for name, out := range map[string]string{
		"status":  wrkOutput + "  Non-2xx or 3xx responses: 7\n",
		"sockets": wrkOutput + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
		"short":   strings.Replace(wrkOutput, "241.35MB", "24.13MB", 1),
		"none":    strings.Replace(wrkOutput, "215400 requests in 3.00s, 241.35MB", "0 requests in 3.00s, 0.00B", 1),
		"nothing": "unable to connect to 127.0.0.1:8443 Connection refused\n",
	} {
		if _, err := parseWrk(out, kib); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

const h2loadOutput = `finished in 3.01s, 4983.39 req/s, 5.55MB/s
requests: 15000 total, 15000 started, 15000 done, 15000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 15000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 16.72MB (17535000) total, 1.95MB (2040000) headers (space savings 0.00%), 14.65MB (15360000) data
`

func TestParseH2load(t *testing.T) {
	want := load{requests: 15000, duration: 3010 * time.Millisecond}
	for name, out := range map[string]string{
		"all": h2loadOutput,
		// At the end of its time one answer's head had come and its body had not.
		"one under way": strings.Replace(h2loadOutput, "15000 2xx", "15001 2xx", 1),
	} {
		if got, err := parseH2load(out, kib); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	for name, change := range map[string][2]string{
		"status": {"15000 2xx, 0 3xx", "15000 2xx, 1 3xx"}, "unanswered": {"15000 2xx", "14999 2xx"}, "errored": {"0 errored", "1 errored"}, "failed": {"0 failed", "1 failed"},
		"short": {"(15360000) data", "(1536000) data"}, "undone": {"15000 succeeded", "14000 succeeded"},
	} {
		if _, err := parseH2load(strings.Replace(h2loadOutput, change[0], change[1], 1), kib); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	p50, p99 := percentiles(loggedTimes("1\t200\t30\n2\t200\t10\n3\t200\t20\n"))
	if p50 != 20*time.Microsecond || p99 != 30*time.Microsecond {
		t.Errorf("percentiles %v, %v", p50, p99)
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("12 (a b) (c) S 7 12 12 0 -1 4194304 500 0 3 0 250 31 9 8 20 0 4 0 100 1000 200")
	if want := (stat{7, 2500 * time.Millisecond, 310 * time.Millisecond}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseStat("12 (a) S 7"); err == nil {
		t.Error("a short line is no error")
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy("cpu  100 20 3 5000 6000 1 2 4 50 60\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if want := 1300 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// The clock counts this process's own work, which /proc tells in ticks.
func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-before > 5*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("10 s of work took no CPU time")
		}
	}
	pids, err := tree(os.Getppid())
	if err != nil || !slices.Contains(pids, os.Getpid()) {
		t.Errorf("the tree of our parent, %v, %v, does not have us", pids, err)
	}
	if memory(os.Getpid()) < mib {
		t.Errorf("our memory is %d bytes", memory(os.Getpid()))
	}
}

func TestParseCalls(t *testing.T) {
	const table = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.600000           3       200           write
 39.00    0.390000           1       250        50 read
  1.00    0.010000           1         4           futex
100.00    1.000000           2       454        50 total
`
	if got, want := parseCalls(table, 100), "4.54: read 2.50 (0.50 failed), write 2.00, futex 0.04"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRatios(t *testing.T) {
	untilSeen := func(c *cell) float64 { return c.seen.Seconds() }
	costs := func(values ...float64) []*cell {
		var cells []*cell
		for _, v := range values {
			if v == 0 {
				cells = append(cells, nil)
			} else {
				cells = append(cells, &cell{seen: time.Duration(v * float64(time.Second))})
			}
		}
		return cells
	}
	// Of the same round, not of the medians; the second and the fourth have no pair.
	got, ok := spreadOf(ratios(costs(1, 5, 9, 0, 8), costs(2, 0, 10, 1, 4), untilSeen))
	if want := (spread{0.9, 0.5, 2}); !ok || got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if even, _ := spreadOf([]float64{4, 1, 3, 2}); even.median != 2.5 {
		t.Errorf("the median of an even number is %v", even.median)
	}
	if _, ok := spreadOf(nil); ok {
		t.Error("nothing has a median")
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		ratio, bound float64
		want         string
	}{{0.9, 0.9, "≤ 0.90 held"}, {1.05, 0.9, "≤ 0.90 **missed by 0.15**"}, {3, 0, ""}} {
		if got := verdict(c.ratio, c.bound); got != c.want {
			t.Errorf("verdict(%v, %v) = %q, want %q", c.ratio, c.bound, got, c.want)
		}
	}
}

func TestWarning(t *testing.T) {
	if warning(0.05) != "" || warning(0.5) == "" {
		t.Errorf("quiet: %q, loud: %q", warning(0.05), warning(0.5))
	}
}

func TestCellCost(t *testing.T) {
	start := time.Now()
	before := usage{at: start, own: time.Second, user: time.Second, origin: time.Second, busy: 10 * time.Second, memory: 1000}
	after := usage{at: start.Add(2 * time.Second), own: 3 * time.Second, user: 1500 * time.Millisecond, system: 1500 * time.Millisecond,
		origin: 1100 * time.Millisecond, busy: 14 * time.Second, memory: 1000 + 5000*kib}
	got := load{requests: 1000, duration: 2 * time.Second, cpu: 900 * time.Millisecond}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	c, err := newCell(got, before, after)
	if err != nil {
		t.Fatal(err)
	}
	w := work{size: 1e6}
	near("cost in µs", w.perRequest(c), 2000)
	near("cost in ms/GB", w.perGB(c), 2000)
	near("memory of a connection in KiB", w.perConnection(c), 5)
	near("rate", c.rate(), 500)
	near("user part", c.userShare, 0.25)
	near("strangers", c.strangers, 0.5)
	if _, err := newCell(got, before, usage{at: start.Add(time.Second), own: time.Second}); err == nil {
		t.Error("no CPU time is no error")
	}
}

func TestBetween(t *testing.T) {
	got, err := between([]byte("# A\n"+tableBegin+"old\n"+tableEnd+"rest\n"), "new\n")
	if want := "# A\n" + tableBegin + "\nnew\n\n" + tableEnd + "rest\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := between([]byte("# A\n"+tableEnd+tableBegin), "new\n"); err == nil {
		t.Error("marks the wrong way round are no error")
	}
	text, err := os.ReadFile(filepath.Join("..", "docs", "BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := between(text, "new\n"); err != nil {
		t.Error(err)
	}
}

func TestCheckLog(t *testing.T) {
	dir := t.TempDir()
	p := &process{site: site{Dir: dir}}
	if err := p.checkLog(false, 2); err != nil {
		t.Error(err)
	}
	path := filepath.Join(dir, "access.log")
	if err := os.WriteFile(path, []byte("{}\n{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.checkLog(false, 2); err == nil {
		t.Error("a log that is off has a line, and that is no error")
	}
	if err := p.checkLog(true, 1); err != nil {
		t.Error(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := p.checkLog(true, 2); err == nil {
			t.Error("a line is missing, and that is no error")
		}
		time.AfterFunc(time.Second, func() { os.WriteFile(path, []byte("{}\n{}\n"), 0o600) })
		if err := p.checkLog(true, 2); err != nil {
			t.Errorf("the line came late: %v", err)
		}
	})
}

// Every configuration fills in, only with log says something of a log, and has one line with the word that a reload changes.
func TestConfigs(t *testing.T) {
	for _, s := range slices.Concat([]server{edge, origin}, peers) {
		plain := filled(t, s, site{})
		if same := plain == filled(t, s, site{Log: true}); same != (s.name == "origin") {
			t.Errorf("%s: the log makes a difference: %v", s.config, !same)
		}
		if s.name == "origin" {
			continue
		}
		few, before, after := filled(t, s, site{Vhosts: vhosts(2)}), filled(t, s, site{Vhosts: vhosts(3), Word: "first"}), filled(t, s, site{Vhosts: vhosts(3), Word: "second"})
		if few == plain || len(before) <= len(few) {
			t.Errorf("%s: virtual hosts make no difference", s.config)
		}
		if n := differing(before, after); n != 1 {
			t.Errorf("%s: another word is %d other lines, want 1", s.config, n)
		}
	}
}

// filled is a server's configuration.
func filled(t *testing.T, s server, own site) string {
	t.Helper()
	own.Dir, own.TLS, own.Plain, own.Origin, own.GRPC, own.Admin, own.Connections = "/lab", 4430, 8000, 9000, 9001, 9002, 9400
	var text strings.Builder
	if err := template.Must(template.ParseFS(configs, s.config)).Execute(&text, own); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// differing is how many lines of two texts, as long as each other, differ.
func differing(a, b string) int {
	before, after := strings.Split(a, "\n"), strings.Split(b, "\n")
	n := max(len(before), len(after)) - min(len(before), len(after))
	for i := range min(len(before), len(after)) {
		if before[i] != after[i] {
			n++
		}
	}
	return n
}

func TestChoose(t *testing.T) {
	opts, err := parse([]string{"-works", "http-1k,https-1k", "-peers", "caddy,nginx", "-seconds", "2"})
	if err != nil {
		t.Fatal(err)
	}
	if len(opts.works) != 2 || opts.works[0].name != "https-1k" || len(opts.peers) != 2 || opts.peers[0].name != "caddy" || opts.duration != 2*time.Second {
		t.Errorf("got %+v", opts)
	}
	for _, args := range [][]string{{"-works", "h9"}, {"-peers", "iis"}, {"-rounds", "0"}, {"-seconds", "0"}, {"word"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is no error", args)
		}
	}
}

func TestVersionIn(t *testing.T) {
	for text, want := range map[string]string{
		"nginx version: nginx/1.22.1\n":                                              "1.22.1",
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus": "2.6.12-1+deb12u4",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("versionIn(%q) = %q, want %q", text, got, want)
		}
	}
}

// Without a list all works are chosen but the extra ones.
func TestChooseAll(t *testing.T) {
	opts, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range opts.works {
		names = append(names, w.name)
	}
	if len(names) != 15 || slices.Contains(names, "http-1m") || !slices.Contains(names, "reload") {
		t.Errorf("the works are %v", names)
	}
}

func TestTurns(t *testing.T) {
	w := work{lacks: []string{"haproxy"}, rounds: map[string]int{"nginx": 3}}
	for _, c := range []struct {
		server string
		rounds int
		want   int
	}{{"nginx", 5, 3}, {"nginx", 2, 2}, {"haproxy", 5, 0}, {"caddy", 5, 5}} {
		if got := w.turns(server{name: c.server}, c.rounds); got != c.want {
			t.Errorf("%s has %d turns of %d, want %d", c.server, got, c.rounds, c.want)
		}
	}
}

// madeUp are results of two rounds: nginx had but one turn, HAProxy lacks the work, Caddy failed.
func madeUp() *results {
	seconds := func(s float64) *cell {
		return &cell{seen: time.Duration(s * float64(time.Second)), load: load{requests: 1, duration: time.Second}}
	}
	w := work{name: "reload", says: "reload", vhosts: 10, lacks: []string{"haproxy"}, rounds: map[string]int{"nginx": 1},
		figures: []figure{{says: "until seen", unit: "s", digits: 1, of: (work).untilSeen, bound: atMost(0.5, 1, 1)}}}
	r := newResults(options{works: []work{w}, rounds: 2, duration: time.Second}, slices.Concat([]server{edge}, peers))
	r.add(w, edge, 0, seconds(1))
	r.add(w, edge, 1, seconds(2))
	r.add(w, peers[0], 0, seconds(4))
	return r
}

func TestComparison(t *testing.T) {
	got := madeUp().comparison()
	want := [][]string{
		{"work", "edge", "nginx", "edge ÷ nginx", "haproxy", "edge ÷ haproxy", "caddy", "edge ÷ caddy"},
		{"reload, until seen", "1.5 s", "4.0 s (1 rounds)", "0.25 (0.25–0.25), ≤ 0.50 held", "–", "–", "FAILED", "–"},
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Of reloads it is not known who kept the CPUs busy.
func TestNoise(t *testing.T) {
	r := madeUp()
	w := work{name: "other"}
	r.opts.works = append(r.opts.works, w)
	r.cells[w.name] = map[string][]*cell{edge.name: {{strangers: 0.25}, nil}}
	r.cells["reload"][edge.name][0].strangers = 3
	if got, ok := r.noise(); !ok || got != (spread{0.25, 0.25, 0.25}) {
		t.Errorf("got %v, %v", got, ok)
	}
}

func TestAligned(t *testing.T) {
	if got, want := aligned([][]string{{"a", "÷÷÷"}, {"bbb", "c"}}), "| a   | ÷÷÷ |\n|-----|-----|\n| bbb | c   |\n"; got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestWriteJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "bench.json")
	if err := madeUp().writeJSON(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got jsonRun
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Figures) != 1 || got.Rounds != 2 {
		t.Fatalf("got %s", text)
	}
	servers := got.Figures[0].Servers
	if len(servers) != 2 || servers["edge"].Median != 1.5 || *servers["edge"].Rounds[1] != 2 || servers["edge"].Ratio != nil {
		t.Errorf("got %s", text)
	}
	if nginx := servers["nginx"]; nginx.Rounds[1] != nil || nginx.Ratio == nil || nginx.Ratio.Median != 0.25 || nginx.Ratio.Bound != 0.5 || !*nginx.Ratio.Held {
		t.Errorf("got %s", text)
	}
}
