package drill

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// The bound: the p99 around changes is not above this, or not above so many times that of a second in which nothing changes. Where the machine itself
// is short of time, which requests to the app without edge show, it is not above so many times what these take: at the same moments, or around all
// changes, as one moment is too short to tell of a machine that others use.
const (
	late  = 50 * time.Millisecond
	times = 3
)

// aftermath is how long after a change an answer still counts as one around it.
const aftermath = time.Second

// event is a change.
type event struct {
	what     string
	from, to time.Time
}

// near says whether the change was while an answer was awaited, or shortly before.
func (e event) near(s sample) bool {
	return s.at <= e.to.Add(aftermath).UnixNano() && s.end() >= e.from.UnixNano()
}

// nearEvent says whether any of the events, which are in order, is near.
func nearEvent(s sample, events []event) bool {
	i, _ := slices.BinarySearchFunc(events, s.at, func(e event, at int64) int { return cmp.Compare(e.to.Add(aftermath).UnixNano(), at) })
	return i < len(events) && events[i].near(s)
}

// spread is of how long answers took.
type spread struct{ p50, p99 time.Duration }

func spreadOf(all []time.Duration) spread {
	if len(all) == 0 {
		return spread{}
	}
	slices.Sort(all)
	return spread{all[len(all)/2], all[len(all)*99/100]}
}

// spreadAround is of the answers that were awaited near any of the events.
func spreadAround(samples []sample, events []event) spread {
	var all []time.Duration
	for _, s := range samples {
		if nearEvent(s, events) {
			all = append(all, s.took)
		}
	}
	return spreadOf(all)
}

// spreadSteady is of the others.
func spreadSteady(samples []sample, events []event) spread {
	var all []time.Duration
	for _, s := range samples {
		if !nearEvent(s, events) {
			all = append(all, s.took)
		}
	}
	return spreadOf(all)
}

// steadySecond is of the second, of those without a change, that has the middle p99: there are few of them, and in one of these the machine may have
// been busy with something else.
func steadySecond(samples []sample, events []event) spread {
	seconds := map[int64][]time.Duration{}
	for _, s := range samples {
		if !nearEvent(s, events) {
			n := s.at / int64(time.Second)
			seconds[n] = append(seconds[n], s.took)
		}
	}
	var all []spread
	for _, took := range seconds {
		all = append(all, spreadOf(took))
	}
	if len(all) == 0 {
		return spread{}
	}
	slices.SortFunc(all, func(a, b spread) int { return cmp.Compare(a.p99, b.p99) })
	return all[(len(all)-1)/2]
}

func (s spread) String() string { return inMs(s.p50) + "/" + inMs(s.p99) }

func inMs(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// timing is a paced client through edge, and one like it that asks the app without edge.
type timing struct {
	name          string
	edge, control *Report
	steady        spread // of edge, in the usual second in which nothing changes
	machine       spread // of control, around all changes
}

// judged is what the answers to a paced client took around the changes of one kind.
type judged struct {
	edge, control spread
	limit         time.Duration
	starved       bool // the machine's own lateness made the limit
}

func (t *timing) judge(events []event) judged {
	j := judged{edge: spreadAround(t.edge.samples, events), control: spreadAround(t.control.samples, events)}
	j.limit = max(late, times*t.steady.p99)
	if machine := times * max(j.control.p99, t.machine.p99); machine > j.limit {
		j.limit, j.starved = machine, true
	}
	return j
}

// byKind are the changes of each kind.
func byKind(events []event) map[string][]event {
	kinds := map[string][]event{}
	for _, e := range events {
		kinds[e.what] = append(kinds[e.what], e)
	}
	return kinds
}

// judgeTimes judges the paced clients around each kind of change, and gives what is above its limit.
func (r *Result) judgeTimes(events []event) (problems []string) {
	r.kinds = byKind(events)
	r.judged = map[string][]judged{}
	for _, t := range r.timings {
		t.steady, t.machine = steadySecond(t.edge.samples, events), spreadAround(t.control.samples, events)
	}
	for _, what := range slices.Sorted(maps.Keys(r.kinds)) {
		for _, t := range r.timings {
			j := t.judge(r.kinds[what])
			if j.edge.p99 > j.limit {
				problems = append(problems, fmt.Sprintf("late: %s, around %s: p99 %s ms, the limit is %s ms", t.name, what, inMs(j.edge.p99), inMs(j.limit)))
			}
			r.judged[what] = append(r.judged[what], j)
		}
	}
	return problems
}

// printTimes prints what judgeTimes has found.
func (r *Result) printTimes(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\np50/p99 in the second around\tchanges\t")
	for _, probe := range r.timings {
		fmt.Fprintf(t, "%s\tthe app alone\tlimit\t", probe.name)
	}
	fmt.Fprint(t, "\nno change\t\t")
	for _, probe := range r.timings {
		fmt.Fprintf(t, "%v\t\t\t", probe.steady)
	}
	fmt.Fprint(t, "\nany change\t\t")
	for _, probe := range r.timings {
		fmt.Fprintf(t, "\t%v\t\t", probe.machine)
	}
	fmt.Fprintln(t)
	starved := false
	for _, what := range slices.Sorted(maps.Keys(r.judged)) {
		fmt.Fprintf(t, "%s\t%d\t", what, len(r.kinds[what]))
		for _, j := range r.judged[what] {
			mark := ""
			if j.starved {
				mark, starved = "*", true
			}
			fmt.Fprintf(t, "%v\t%v\t%s%s\t", j.edge, j.control, inMs(j.limit), mark)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if starved {
		fmt.Fprintf(w, "* The machine was short of time: the app alone was late too. The limit is %d times its p99, then or around any change.\n", times)
	}
	return nil
}
