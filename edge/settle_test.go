package edge

import (
	"strings"
	"testing"
)

// Memory is given back after a rush, when the process has been quiet for a second, if there is enough of it; and once a minute at most.
func TestSettle(t *testing.T) {
	const mib = 1 << 20
	rush := footprint{allocated: 100 * mib, objects: 60 * mib, live: 10 * mib, free: 5 * mib, stacks: 10 * mib}
	settled := footprint{allocated: 100 * mib, objects: 30 * mib, live: 30 * mib, stacks: 10 * mib}
	for name, c := range map[string]struct {
		periods []footprint
		due     string // one letter for each of them
	}{
		"after a rush":      {[]footprint{rush, rush, rush}, "..x"},
		"nothing to gain":   {[]footprint{settled, settled, settled, settled}, "...."},
		"free already":      {[]footprint{{allocated: mib, free: 20 * mib}, {allocated: mib, free: 20 * mib}, {allocated: mib, free: 20 * mib}}, "..x"},
		"little":            {[]footprint{{free: 3 * mib}, {free: 3 * mib}, {free: 3 * mib}}, "..."},
		"little of much":    {[]footprint{{free: 10 * mib, live: mib << 10, objects: mib << 10}, {free: 10 * mib, live: mib << 10, objects: mib << 10}}, ".."},
		"still allocating":  {rising(rush, 5, mib), "....."},
		"quiet enough":      {rising(rush, 3, 100<<10), "..x"},
		"quiet a moment":    {append(rising(rush, 2, mib), rising(rush, 2, mib)...), "...."},
		"again in a minute": {rising(rush, 123, 1), "..x" + dots(119) + "x"},
	} {
		var s settler
		got := ""
		for _, m := range c.periods {
			if s.due(m) {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != c.due {
			t.Errorf("%s: %q, and ought to be %q", name, got, c.due)
		}
	}
}

// rising gives m for some periods, with more allocated in each.
func rising(m footprint, periods int, by uint64) (list []footprint) {
	for range periods {
		list = append(list, m)
		m.allocated += by
	}
	return list
}

func dots(n int) string { return strings.Repeat(".", n) }
