package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A cell is one server's turn at one work.
type cell struct {
	cost      float64 // CPU: microseconds a request, or milliseconds a GB
	userShare float64 // of the cost
	rate      float64 // requests a second
	p50, p99  time.Duration
	memory    int64
	share     float64 // CPUs that the server kept busy
	busy      float64 // CPUs that were busy at all
	strangers float64 // CPUs kept busy by what is no part of the benchmark
}

func newCell(w work, got load, before, after usage) (*cell, error) {
	own, wall := after.own-before.own, after.at.Sub(before.at)
	if own <= 0 || wall <= 0 {
		return nil, errors.New("no CPU time was counted")
	}
	c := &cell{p50: got.p50, p99: got.p99, memory: after.memory}
	c.cost = own.Seconds() * 1e6 / float64(got.requests)
	c.rate = float64(got.requests) / got.duration.Seconds()
	if w.perGB {
		c.cost = own.Seconds() * 1e3 / (float64(got.requests) * float64(w.size) / 1e9)
	}
	user, system := after.user-before.user, after.system-before.system
	c.userShare = user.Seconds() / max(tick, user+system).Seconds()
	busy := after.busy - before.busy
	c.share, c.busy = own.Seconds()/wall.Seconds(), busy.Seconds()/wall.Seconds()
	c.strangers = max(0, (busy-own-got.cpu-(after.origin-before.origin)).Seconds()/wall.Seconds())
	return c, nil
}

func (c *cell) String(w work) string {
	return fmt.Sprintf("%8.2f %s %8.0f req/s  p50 %v p99 %v  %d MiB  CPUs: own %.2f, busy %.2f, strangers %.2f",
		c.cost, w.unit(), c.rate, c.p50, c.p99, c.memory/mib, c.share, c.busy, c.strangers)
}

func (w work) unit() string {
	if w.perGB {
		return "ms/GB"
	}
	return "µs"
}

// results are the cells of a run, by work, server and round. A cell that failed is nil.
type results struct {
	opts        options
	contestants []server
	cells       map[string]map[string][]*cell
	failed      []error
}

func newResults(opts options, contestants []server) *results {
	res := &results{opts: opts, contestants: contestants, cells: map[string]map[string][]*cell{}}
	for _, w := range opts.works {
		res.cells[w.name] = map[string][]*cell{}
		for _, s := range contestants {
			res.cells[w.name][s.name] = make([]*cell, opts.rounds)
		}
	}
	return res
}

func (r *results) add(w work, s server, round int, c *cell) { r.cells[w.name][s.name][round] = c }

// A spread is the middle of some values, with the least and the greatest.
type spread struct{ median, low, high float64 }

// spreadOf is false for no values.
func spreadOf(values []float64) (spread, bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	v := slices.Sorted(slices.Values(values))
	half := len(v) / 2
	median := v[half]
	if len(v)%2 == 0 {
		median = (v[half-1] + v[half]) / 2
	}
	return spread{median, v[0], v[len(v)-1]}, true
}

// each gives a value of the cells that there are.
func each(cells []*cell, value func(*cell) float64) []float64 {
	var values []float64
	for _, c := range cells {
		if c != nil {
			values = append(values, value(c))
		}
	}
	return values
}

// middle is the median of a value of the cells.
func middle(cells []*cell, value func(*cell) float64) float64 {
	s, _ := spreadOf(each(cells, value))
	return s.median
}

// ratios divides the costs of the same round: what slows the machine for a while slows both. Rounds in which one failed are left out.
func ratios(ours, theirs []*cell) []float64 {
	var values []float64
	for i, c := range ours {
		if c != nil && theirs[i] != nil {
			values = append(values, c.cost/theirs[i].cost)
		}
	}
	return values
}

// verdict says whether a ratio is within its bound; a bound of 0 is none.
func verdict(ratio, bound float64) string {
	switch {
	case bound == 0:
		return "–"
	case ratio <= bound:
		return fmt.Sprintf("≤ %.2f: held", bound)
	}
	return fmt.Sprintf("≤ %.2f: **missed by %.2f**", bound, ratio-bound)
}

// markdown is the run's table with what there is to know about it.
func (r *results) markdown(facts []fact, opts options) string {
	var b strings.Builder
	r.writeFacts(&b, facts, opts)
	b.WriteString("\n| work | server | CPU | edge ÷ server | bound | user part | req/s | p50 / p99 | memory | CPUs: own / all |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range opts.works {
		for _, s := range r.contestants {
			r.writeRow(&b, w, s)
		}
	}
	return b.String()
}

func (r *results) writeRow(b *strings.Builder, w work, s server) {
	cells := r.cells[w.name][s.name]
	cost, ok := spreadOf(each(cells, func(c *cell) float64 { return c.cost }))
	if !ok {
		fmt.Fprintf(b, "| %s | %s | FAILED |\n", w.says, s.name)
		return
	}
	ratio, bound := "", ""
	if q, ok := spreadOf(ratios(r.cells[w.name][edge.name], cells)); ok && s.name != edge.name {
		ratio = fmt.Sprintf("%.2f (%.2f–%.2f)", q.median, q.low, q.high)
		bound = verdict(q.median, w.bound[s.name])
	}
	digits := 2
	if w.perGB {
		digits = 0
	}
	fmt.Fprintf(b, "| %s | %s | %.*f %s (%.*f–%.*f) | %s | %s | %.0f %% | %.0f | %s / %s | %.0f MiB | %.2f / %.2f |\n",
		w.says, s.name, digits, cost.median, w.unit(), digits, cost.low, digits, cost.high, ratio, bound,
		100*middle(cells, func(c *cell) float64 { return c.userShare }), middle(cells, func(c *cell) float64 { return c.rate }),
		micro(middle(cells, func(c *cell) float64 { return float64(c.p50) })), micro(middle(cells, func(c *cell) float64 { return float64(c.p99) })),
		middle(cells, func(c *cell) float64 { return float64(c.memory) })/mib,
		middle(cells, func(c *cell) float64 { return c.share }), middle(cells, func(c *cell) float64 { return c.busy }))
}

func micro(d float64) string { return fmt.Sprintf("%.2f ms", d/float64(time.Millisecond)) }

// writeFacts says what was measured, where, when and how quiet it was.
func (r *results) writeFacts(b *strings.Builder, facts []fact, opts options) {
	fmt.Fprintf(b, "%s, %s. %d rounds of %.0f s a cell.\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"), machine(), opts.rounds, opts.duration.Seconds())
	for _, f := range facts {
		fmt.Fprintf(b, "- %s %s: %s\n", f.server.name, f.version, f.negotiated)
	}
	var all []float64
	for _, byServer := range r.cells {
		for _, cells := range byServer {
			all = append(all, each(cells, func(c *cell) float64 { return c.strangers })...)
		}
	}
	if s, ok := spreadOf(all); ok {
		fmt.Fprintf(b, "- noise: others on the machine kept %.2f CPUs busy in the median cell, %.2f in the worst%s\n", s.median, s.high, warning(s.median))
	}
}

// warning says when the machine was not quiet enough to compare on.
func warning(strangers float64) string {
	if strangers > 0.1 {
		return ". **Too much: the ratios mean little, run it again on a quiet machine**"
	}
	return ""
}

const (
	tableBegin = "<!-- make bench writes from here -->\n"
	tableEnd   = "<!-- to here -->\n"
)

// writeTable puts the table between the two marks of a file.
func writeTable(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err = between(text, table)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, text, 0o644)
}

func between(text []byte, table string) ([]byte, error) {
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return nil, fmt.Errorf("no place for the table: the lines %q and %q are missing", tableBegin, tableEnd)
	}
	return []byte(before + tableBegin + "\n" + table + "\n" + tableEnd + after), nil
}
