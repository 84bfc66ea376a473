package drill

import (
	"fmt"
	"slices"
)

// slack is by how much a look at a process at rest may differ from the next: it may be at something of its own, and the look itself is a connection.
// What leaks does so in each generation.
const slack = 2

// underLoad is what a late generation may have where a young one had this: roughly, as what its connections take, goroutines and the pipes of tunnels
// among it, is the clients' affair and the machine's, and the garbage collector has not come to all of it yet. What leaks is seen at rest.
func (r resources) underLoad() resources {
	return resources{Descriptors: 2*(r.Descriptors-r.Connections) + 20, Goroutines: 2*r.Goroutines + 20, KiB: r.KiB*5/4 + 2<<10}
}

// atRest is the same for a process that nobody asks anything.
func (r resources) atRest() resources {
	return resources{Descriptors: r.Descriptors + slack, Goroutines: r.Goroutines + slack, KiB: r.KiB*5/4 + 2<<10}
}

// growth is what has grown over the generations: between the first and the last when they were new, and between those that took over early and those
// that did late, under the same load.
func (r *Result) growth() (grown []string) {
	grown = above("when new", r.first.atRest(), r.last)
	if young, late := r.youngAndLate(); len(r.generations) > 1 {
		late.Descriptors -= late.Connections
		grown = append(grown, above("under load", young.underLoad(), late)...)
	}
	return grown
}

func above(when string, most, late resources) (grown []string) {
	for _, c := range []struct {
		what       string
		most, have int
	}{
		{"descriptors", most.Descriptors, late.Descriptors},
		{"goroutines", most.Goroutines, late.Goroutines},
		{"KiB", most.KiB, late.KiB},
	} {
		if c.have > c.most {
			grown = append(grown, fmt.Sprintf("over the generations, %s: %s have grown to %d; %d would be as before", when, c.what, c.have, c.most))
		}
	}
	return grown
}

// youngAndLate are the middle of the first half of the generations and of the second.
func (r *Result) youngAndLate() (young, late resources) {
	half := len(r.generations) / 2
	return middle(r.generations[:half]), middle(r.generations[len(r.generations)-half:])
}

// middle gives the median of each figure.
func middle(all []resources) (m resources) {
	if len(all) == 0 {
		return m
	}
	median := func(figure func(resources) int) int {
		values := make([]int, len(all))
		for i, r := range all {
			values[i] = figure(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return resources{
		Descriptors: median(func(r resources) int { return r.Descriptors }), Connections: median(func(r resources) int { return r.Connections }),
		Threads: median(func(r resources) int { return r.Threads }), Goroutines: median(func(r resources) int { return r.Goroutines }),
		KiB: median(func(r resources) int { return r.KiB }),
	}
}
