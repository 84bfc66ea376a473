package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"edge/reload/drill"
)

// printTables writes what was found: of each contestant, of each kind of clients, and which errors they had.
func printTables(w io.Writer, outcomes []*outcome) error {
	if err := printContestants(w, outcomes); err != nil {
		return err
	}
	fmt.Fprint(w, "\nFailed requests / idle connections closed, by the kind of client:\n\n")
	if err := printKinds(w, outcomes); err != nil {
		return err
	}
	fmt.Fprintln(w)
	printErrors(w, outcomes)
	return nil
}

// sum adds reports up.
func sum(reports map[string]*drill.Report) (total drill.Report) {
	for _, r := range reports {
		total.OK += r.OK
		total.Failed += r.Failed
		total.ClosedUnder += r.ClosedUnder
		total.ToldToClose += r.ToldToClose
	}
	return
}

func printContestants(w io.Writer, outcomes []*outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tcontestant\tchange\tchanges\teach took\trequests\tfailed\tper change\tmay ask again\tdouble\tclosed idle\ttold to close\tresumed")
	for i, o := range outcomes {
		all := sum(o.reports)
		var opened, resumed, again int64
		for key, r := range o.reports {
			again += harmless(r)
			if strings.HasPrefix(key, resuming) {
				opened, resumed = opened+r.Opened, resumed+r.Resumed
			}
		}
		fmt.Fprintf(t, "%d\t%s %s\t%s\t%d\t%d ms\t%d\t%d\t%.1f\t%d\t%d\t%d\t%d\t%d of %d\n", i+1, o.name, o.version, o.event, o.changes,
			(o.took / time.Duration(o.changes)).Milliseconds(), all.OK+all.Failed, all.Failed, float64(all.Failed)/float64(o.changes), again, o.double,
			all.ClosedUnder, all.ToldToClose, resumed, opened)
	}
	return t.Flush()
}

// The failures after which HTTP lets a client ask again, which these clients never do: a stream above the last one of a GOAWAY (RFC 9113 section 6.8), and
// a request that was pipelined behind an answer that is the connection's last (RFC 9112 section 9.6).
const (
	aboveLast  = "stream: http2: Transport received Server's graceful shutdown GOAWAY"
	behindLast = "reading: the second of two requests has no answer"
)

// harmless is how many of a report's failures are of these, at least: where the first of two requests has no answer, neither has the second, and
// who fails so may not ask again.
func harmless(r *drill.Report) int64 {
	others := r.Failed - r.Errors[behindLast] - r.Errors[aboveLast]
	return r.Errors[aboveLast] + max(0, r.Errors[behindLast]-others)
}

// causes counts the errors by their causes.
func (o *outcome) causes() map[string]int64 {
	causes := map[string]int64{}
	for _, r := range o.reports {
		for text, n := range r.Errors {
			causes[cause(text)] += n
		}
	}
	return causes
}

// printKinds has a column for each contestant.
func printKinds(w io.Writer, outcomes []*outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "clients\tRTT\t")
	for i, o := range outcomes {
		fmt.Fprintf(t, "%d %s\t", i+1, o.name)
	}
	fmt.Fprintln(t)
	for _, roundTrip := range roundTrips {
		for _, k := range new(lab).kinds(new(server), roundTrip) {
			fmt.Fprintf(t, "%s\t%d ms\t", k.name, roundTrip.Milliseconds())
			for _, o := range outcomes {
				fmt.Fprintf(t, "%s\t", o.cell(k))
			}
			fmt.Fprintln(t)
		}
	}
	return t.Flush()
}

// cell is what a kind of clients saw of a contestant.
func (o *outcome) cell(k kind) string {
	r := o.reports[k.key()]
	switch {
	case r == nil:
		return "not asked"
	case r.OK == 0:
		return "no answer"
	}
	return fmt.Sprintf("%d / %d", r.Failed, r.ClosedUnder)
}

func printErrors(w io.Writer, outcomes []*outcome) {
	for i, o := range outcomes {
		fmt.Fprintf(w, "%d %s, %s:", i+1, o.name, o.event)
		if before := sum(o.calm); before.Failed+before.ClosedUnder > 0 {
			fmt.Fprintf(w, " (before any change %d failed and %d idle connections were closed)", before.Failed, before.ClosedUnder)
		}
		causes := o.causes()
		byNumber := func(a, b string) int { return cmp.Or(cmp.Compare(causes[b], causes[a]), cmp.Compare(a, b)) }
		for j, text := range slices.SortedFunc(maps.Keys(causes), byNumber) {
			fmt.Fprintf(w, "%s %d × %s", strings.Repeat(",", min(j, 1)), causes[text], text)
		}
		if len(causes) == 0 {
			fmt.Fprint(w, " no errors")
		}
		fmt.Fprintln(w)
		for _, why := range slices.Sorted(maps.Values(o.unasked())) {
			fmt.Fprintf(w, "  not asked: %s\n", why)
		}
	}
}

// unasked gives why kinds of clients did not ask a contestant, by the reason.
func (o *outcome) unasked() map[string]string {
	names := map[string]string{}
	for _, k := range new(lab).kinds(o.server, 0) {
		if why := o.whyNot(k); why != "" {
			names[why] += strings.Repeat("; ", min(1, len(names[why]))) + k.name
		}
	}
	for why, kinds := range names {
		names[why] = kinds + ": " + why
	}
	return names
}

var (
	addresses = regexp.MustCompile(`\b(read|write|dial) (tcp|unix) \S+: `)
	numbers   = regexp.MustCompile(`LastStreamID=\d+`)
)

// cause is an error without what differs from one connection to the next.
func cause(text string) string {
	return numbers.ReplaceAllString(addresses.ReplaceAllString(text, ""), "LastStreamID=…")
}
