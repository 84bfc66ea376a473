package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A jsonRun is the file with the results: the same as the table says, and each round's values.
type jsonRun struct {
	At      time.Time         `json:"at"`
	Machine string            `json:"machine"`
	Rounds  int               `json:"rounds"`
	Seconds float64           `json:"seconds"` // of load in each turn
	Servers map[string]string `json:"servers"` // versions
	Noise   float64           `json:"noise"`   // CPUs that others kept busy in the median turn
	Figures []jsonFigure      `json:"figures"`
	Failed  []string          `json:"failed,omitempty"`
}

type jsonFigure struct {
	Work    string                `json:"work"`
	Says    string                `json:"says"`
	Unit    string                `json:"unit"`
	Servers map[string]jsonServer `json:"servers"` // one that lacks the work, or failed at it, is missing
}

type jsonServer struct {
	Median float64    `json:"median"`
	Rounds []*float64 `json:"rounds"` // null where it had no turn, or failed
	Ratio  *jsonRatio `json:"ratio,omitempty"`
}

// A jsonRatio is what edge's figure is of a peer's.
type jsonRatio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Bound  float64 `json:"bound,omitempty"`
	Held   *bool   `json:"held,omitempty"` // missing where there is no bound
}

func (r *results) writeJSON(path string) error {
	text, err := json.MarshalIndent(r.run(), "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("keeping the results: %w", err)
	}
	return nil
}

func (r *results) run() jsonRun {
	noise, _ := r.noise()
	run := jsonRun{At: r.at, Machine: machine(), Rounds: r.opts.rounds, Seconds: r.opts.duration.Seconds(), Noise: noise.median, Servers: map[string]string{}}
	for _, f := range r.facts {
		run.Servers[f.server.name] = f.version
	}
	for _, err := range r.failed {
		run.Failed = append(run.Failed, err.Error())
	}
	for _, w := range r.opts.works {
		for _, f := range w.figures {
			figure := jsonFigure{Work: w.name, Says: f.says, Unit: f.unit, Servers: map[string]jsonServer{}}
			for _, s := range r.contestants {
				if got, ok := r.jsonOf(w, f, s); ok {
					figure.Servers[s.name] = got
				}
			}
			run.Figures = append(run.Figures, figure)
		}
	}
	return run
}

func (r *results) jsonOf(w work, f figure, s server) (got jsonServer, ok bool) {
	cells := r.cells[w.name][s.name]
	v, ok := spreadOf(each(cells, f.in(w)))
	if !ok {
		return got, false
	}
	got.Median = v.median
	for _, c := range cells {
		if c == nil {
			got.Rounds = append(got.Rounds, nil)
			continue
		}
		got.Rounds = append(got.Rounds, new(f.of(w, c)))
	}
	if s.name == edge.name {
		return got, true
	}
	if q, ok := spreadOf(ratios(r.cells[w.name][edge.name], cells, f.in(w))); ok {
		got.Ratio = &jsonRatio{Median: q.median, Low: q.low, High: q.high, Bound: f.bound[s.name]}
		if got.Ratio.Bound > 0 {
			got.Ratio.Held = new(q.median <= got.Ratio.Bound)
		}
	}
	return got, true
}
