package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// results are the cells of a run, by work, server and round. A cell that failed, or in whose round the server had no turn, is nil.
type results struct {
	opts        options
	contestants []server
	facts       []fact
	cells       map[string]map[string][]*cell
	failed      []error
	at          time.Time
	took        map[string]time.Duration // by works, all turns together
}

func newResults(opts options, contestants []server) *results {
	res := &results{at: time.Now().UTC(), took: map[string]time.Duration{}, opts: opts, contestants: contestants, cells: map[string]map[string][]*cell{}}
	for _, w := range opts.works {
		res.cells[w.name] = map[string][]*cell{}
		for _, s := range contestants {
			res.cells[w.name][s.name] = make([]*cell, opts.rounds)
		}
	}
	return res
}

func (r *results) add(w work, s server, round int, c *cell) { r.cells[w.name][s.name][round] = c }

// tellTimes says how long each work took, for who wants to choose.
func (r *results) tellTimes() {
	for _, w := range r.opts.works {
		fmt.Fprintf(os.Stderr, "%-17s took %v\n", w.name, r.took[w.name].Round(time.Second))
	}
	fmt.Fprintf(os.Stderr, "all of it took %v\n", time.Since(r.at).Round(time.Second))
}

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

// ratios divides the values of the same round: what slows the machine for a while slows both. Rounds in which one has none are left out.
func ratios(ours, theirs []*cell, value func(*cell) float64) []float64 {
	var values []float64
	for i, c := range ours {
		if c != nil && theirs[i] != nil {
			values = append(values, value(c)/value(theirs[i]))
		}
	}
	return values
}

// verdict says whether a ratio is within its bound; a bound of 0 is none.
func verdict(ratio, bound float64) string {
	switch {
	case bound == 0:
		return ""
	case ratio <= bound:
		return fmt.Sprintf("≤ %.2f held", bound)
	}
	return fmt.Sprintf("≤ %.2f **missed by %.2f**", bound, ratio-bound)
}

// markdown is the run's tables with what there is to know about it.
func (r *results) markdown() string {
	var b strings.Builder
	r.writeFacts(&b)
	b.WriteString("\n" + aligned(r.comparison()) + "\nMore about the same turns, medians:\n\n" + aligned(r.details()))
	return b.String()
}

// comparison has a row for each figure, and in it every server's, with what edge's is of it.
func (r *results) comparison() [][]string {
	head := []string{"work"}
	for _, s := range r.contestants {
		head = append(head, s.name)
		if s.name != edge.name {
			head = append(head, "edge ÷ "+s.name)
		}
	}
	rows := [][]string{head}
	for _, w := range r.opts.works {
		for _, f := range w.figures {
			row := []string{strings.TrimSuffix(w.says+", "+f.says, ", ")}
			for _, s := range r.contestants {
				row = append(row, r.value(w, f, s))
				if s.name != edge.name {
					row = append(row, r.ratio(w, f, s))
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// in is what a figure is of a cell of a work.
func (f figure) in(w work) func(*cell) float64 { return func(c *cell) float64 { return f.of(w, c) } }

// value is a server's figure: the median, and the number of rounds where that is another than everybody's.
func (r *results) value(w work, f figure, s server) string {
	if !w.has(s) {
		return "–"
	}
	values := each(r.cells[w.name][s.name], f.in(w))
	v, ok := spreadOf(values)
	if !ok {
		return "FAILED"
	}
	text := fmt.Sprintf("%.*f %s", f.digits, v.median, f.unit)
	if len(values) != r.opts.rounds {
		text += fmt.Sprintf(" (%d rounds)", len(values))
	}
	return text
}

// ratio is what edge's figure is of a peer's: the median, the range, and whether it is within the bound.
func (r *results) ratio(w work, f figure, s server) string {
	q, ok := spreadOf(ratios(r.cells[w.name][edge.name], r.cells[w.name][s.name], f.in(w)))
	if !ok {
		return "–"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.2f (%.2f–%.2f), %s", q.median, q.low, q.high, verdict(q.median, f.bound[s.name])), ", ")
}

// details has a row for each server at each work, with what else was seen.
func (r *results) details() [][]string {
	rows := [][]string{{"work", "server", "range", "user part", "a second", "p50 / p99", "memory", "CPUs: own / all", "others"}}
	for _, w := range r.opts.works {
		for _, s := range r.contestants {
			if row := r.detail(w, s); row != nil {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

func (r *results) detail(w work, s server) []string {
	cells := r.cells[w.name][s.name]
	var ranges []string
	for _, f := range w.figures {
		v, ok := spreadOf(each(cells, f.in(w)))
		if !ok {
			return nil
		}
		ranges = append(ranges, fmt.Sprintf("%.*f–%.*f %s", f.digits, v.low, f.digits, v.high, f.unit))
	}
	latency := "–"
	if p50 := middle(cells, func(c *cell) float64 { return float64(c.p50) }); p50 > 0 {
		latency = milli(p50) + " / " + milli(middle(cells, func(c *cell) float64 { return float64(c.p99) }))
	}
	row := []string{w.name, s.name, strings.Join(ranges, ", "),
		fmt.Sprintf("%.0f %%", 100*middle(cells, func(c *cell) float64 { return c.userShare })),
		fmt.Sprintf("%.0f", middle(cells, (*cell).rate)), latency,
		fmt.Sprintf("%.0f MiB", middle(cells, func(c *cell) float64 { return float64(c.memory) })/mib),
		fmt.Sprintf("%.2f / %.2f", middle(cells, (*cell).share), middle(cells, func(c *cell) float64 { return c.busy })),
		fmt.Sprintf("%.2f", middle(cells, func(c *cell) float64 { return c.strangers }))}
	if w.reloads() {
		row[3], row[7], row[8] = "–", "–", "–"
	}
	return row
}

func milli(d float64) string { return fmt.Sprintf("%.2f ms", d/float64(time.Millisecond)) }

// aligned writes a table whose columns are straight where it is read as it is, too.
func aligned(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, text := range row {
			fmt.Fprintf(&b, "| %-*s ", widths[i], text)
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for _, width := range widths {
			b.WriteString("|" + strings.Repeat("-", width+2))
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// writeFacts says what was measured, where, when and how quiet it was.
func (r *results) writeFacts(b *strings.Builder) {
	fmt.Fprintf(b, "%s, %s. %d rounds of %.0f s a turn.\n\n", r.at.Format("2006-01-02 15:04 MST"), machine(), r.opts.rounds, r.opts.duration.Seconds())
	for _, f := range r.facts {
		fmt.Fprintf(b, "- %s %s: %s\n", f.server.name, f.version, f.negotiated)
	}
	if s, ok := r.noise(); ok {
		fmt.Fprintf(b, "- noise: others on the machine kept %.2f CPUs busy in the median turn, %.2f in the worst%s\n", s.median, s.high, warning(s.median))
	}
}

// noise is how many CPUs others kept busy, by cells of which that is known.
func (r *results) noise() (spread, bool) {
	var all []float64
	for _, w := range r.opts.works {
		if w.reloads() {
			continue
		}
		for _, cells := range r.cells[w.name] {
			all = append(all, each(cells, func(c *cell) float64 { return c.strangers })...)
		}
	}
	return spreadOf(all)
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
