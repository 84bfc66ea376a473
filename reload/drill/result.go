package drill

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Result is what a drill has found.
type Result struct {
	rows              []*row
	reloads, upgrades map[string]int // by kind
	first, last       resources      // of the first generation and of the last, when each was new and nobody asked it anything
	loaded            resources      // of the one before the last, which had served
	generations       []resources    // of those that took over, in turn, when each had served for its probation
	kernel            kernel
	timings           []*timing
	kinds             map[string][]event  // the changes
	judged            map[string][]judged // by the kind of change: one for each of timings

	mu       sync.Mutex
	problems []string
}

// row is a kind of client, and what it saw.
type row struct {
	kind
	*Report
	twice          int
	steady, around spread
	slowest        time.Duration
}

func newResult() *Result { return &Result{reloads: map[string]int{}, upgrades: map[string]int{}} }

// problem takes note of what should not be, other than a loss.
func (r *Result) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// finish works the table out.
func (r *Result) finish(o *Origin, events []event) {
	twice := o.executions()
	for _, row := range r.rows {
		row.twice = twice[row.Report.kind]
		for _, s := range row.samples {
			row.slowest = max(row.slowest, s.took)
		}
		row.steady, row.around = spreadSteady(row.samples, events), spreadAround(row.samples, events)
		if row.OK == 0 {
			r.problem("no request of %q, %v away, was answered", row.name, row.roundTrip)
		}
	}
	problems := slices.Concat(r.growth(), r.kernel.problems(r.total().CutAway), r.judgeTimes(events))
	for _, p := range problems {
		r.problem("%s", p)
	}
}

// Lost says whether anything was: a request that failed, one that was executed twice, an idle connection that was closed; or whether
// anything else is not as it should be.
func (r *Result) Lost() bool {
	lost := len(r.problems) > 0
	for _, row := range r.rows {
		lost = lost || row.Failed > 0 || row.twice > 0 || row.ClosedUnder > 0
	}
	return lost
}

// Failed is how many requests failed, of the clients whose kind has this prefix.
func (r *Result) Failed(prefix string) (n int64) {
	for _, row := range r.rows {
		if strings.HasPrefix(row.name, prefix) {
			n += row.Failed
		}
	}
	return n
}

// Print writes the table and what else was found.
func (r *Result) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "clients\tRTT\trequests\tok\tfailed\tdouble\tclosed idle\tapart\tp50/p99 steady\tp50/p99 around changes\tmax\t")
	total, twice := r.total(), 0
	for _, row := range r.rows {
		fmt.Fprintf(t, "%s\t%d ms\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%s\t\n", row.name, row.roundTrip.Milliseconds(),
			row.OK+row.Failed+row.Apart, row.OK, row.Failed, row.twice, row.ClosedUnder, row.Apart, row.steady, row.around, inMs(row.slowest))
		twice += row.twice
	}
	fmt.Fprintf(t, "all\t\t%d\t%d\t%d\t%d\t%d\t%d\t\t\t\t\n",
		total.OK+total.Failed+total.Apart, total.OK, total.Failed, twice, total.ClosedUnder, total.Apart)
	if err := t.Flush(); err != nil {
		return err
	}
	r.printRest(w)
	if len(r.timings) > 0 {
		if err := r.printTimes(w); err != nil {
			return err
		}
	}
	r.printProblems(w)
	return nil
}

// total adds the rows up.
func (r *Result) total() *Report {
	var all Report
	for _, row := range r.rows {
		row.mu.Lock()
		all.OK += row.OK
		all.Failed += row.Failed
		all.Apart += row.Apart
		all.ClosedUnder += row.ClosedUnder
		all.CutAway += row.CutAway
		all.ToldToClose += row.ToldToClose
		all.Opened += row.Opened
		all.Refused += row.Refused
		row.mu.Unlock()
	}
	return &all
}

func (r *Result) printRest(w io.Writer) {
	fmt.Fprintf(w, "\nTimes in ms. Apart: lost with an error while the drill itself had killed the process or taken the listener away.\n")
	fmt.Fprintf(w, "Reloads: %s\nUpgrades: %s\n", tally(r.reloads), tally(r.upgrades))
	for _, row := range r.rows {
		if row.resumes {
			fmt.Fprintf(w, "TLS sessions resumed, %d ms away: %d of %d\n", row.roundTrip.Milliseconds(), row.Resumed, row.Opened)
		}
	}
	fmt.Fprintf(w, "The first generation, new: %v\nThe last one, new: %v\nThe one before it, having served: %v\n", r.first, r.last, r.loaded)
	if young, late := r.youngAndLate(); len(r.generations) > 1 {
		fmt.Fprintf(w, "A young generation under load: %v\nA late one: %v\n", young, late)
	}
	r.kernel.print(w, r.total().Refused)
}

func (r *Result) printProblems(w io.Writer) {
	for _, row := range r.rows {
		for _, text := range slices.Sorted(maps.Keys(row.Errors)) {
			fmt.Fprintf(w, "FAILED: %s, %d ms away: %d times %s\n", row.name, row.roundTrip.Milliseconds(), row.Errors[text], text)
		}
	}
	for _, text := range r.problems {
		fmt.Fprintln(w, "WRONG:", text)
	}
}

// tally gives counts, and their sum.
func tally(counts map[string]int) string {
	var b strings.Builder
	sum := 0
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		sum += counts[what]
		fmt.Fprintf(&b, ", %s %d", what, counts[what])
	}
	return fmt.Sprintf("%d%s", sum, strings.Replace(b.String(), ", ", ": ", 1))
}
