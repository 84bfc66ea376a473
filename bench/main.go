// Command bench measures edge beside nginx, HAProxy and Caddy: the CPU time that each takes for a request, memory, reloads and latency. docs/BENCHMARKS.md has its
// method and its last table. It knows edge only as a program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	works    []work
	peers    []server
	rounds   int
	duration time.Duration // of the load of one cell
	edge     string        // the program; "": built from the tree
	write    bool
	json     string
	profile  bool
	sessions int // of people who have logged in, whose cost is measured in place of all else; 0: none
}

func main() {
	opts, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	// Or Pdeathsig (process.go) could strike when a thread ends, not only when we do.
	runtime.LockOSThread()
	// Where Debian has servers, and users have no PATH to.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	// From here on an interrupt is a return, so that everything started is ended.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err == nil {
		err = run(ctx, opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	list := flags.String("works", "", "the `works` to run, with commas; default: all but "+strings.Join(extras(), ",")+". There are "+strings.Join(workNames(), ","))
	peers := flags.String("peers", "nginx,haproxy,caddy", "whom to measure beside edge, with commas; \"\" for nobody")
	seconds := flags.Int("seconds", 1, "of load in each cell")
	flags.IntVar(&opts.rounds, "rounds", 5, "how often everybody has a turn")
	flags.StringVar(&opts.edge, "edge", "", "a program to measure in place of one built from this tree")
	flags.BoolVar(&opts.write, "write", false, "put the table into docs/BENCHMARKS.md")
	flags.StringVar(&opts.json, "json", "", "the `file` for the results; default bin/bench.json")
	flags.BoolVar(&opts.profile, "profile", false, "show where the time goes, in place of measuring (strace, perf)")
	flags.IntVar(&opts.sessions, "sessions", 0, "measure, in place of the peers, what the check of so many `logins` costs")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	opts.duration = time.Duration(*seconds) * time.Second
	if opts.rounds < 1 || *seconds < 1 || opts.sessions < 0 || flags.NArg() > 0 {
		return opts, errors.New("rounds and seconds are at least 1, sessions are not below 0, and there are only flags")
	}
	var err error
	if opts.works, err = chooseWorks(*list); err != nil {
		return opts, err
	}
	opts.peers, err = choosePeers(*peers)
	return opts, err
}

func run(ctx context.Context, opts options) error {
	if opts.sessions > 0 {
		opts.works = nil
	}
	l, err := newLab(ctx, opts.edge, opts.works)
	if err != nil {
		return err
	}
	defer l.close()
	if opts.sessions > 0 {
		return l.measureSessions(ctx, opts)
	}
	contestants := slices.Concat([]server{edge}, l.available(ctx, opts.peers))
	facts, err := l.meet(ctx, contestants)
	if err != nil {
		return err
	}
	if err := l.setRates(ctx, opts.works, contestants); err != nil {
		return err
	}
	if opts.profile {
		return l.profile(ctx, opts, contestants)
	}
	res, err := l.measure(ctx, opts, contestants)
	if err != nil {
		return err
	}
	res.facts = facts
	return l.report(res, opts)
}

// setRates gives their rates to the works that depend on what the slowest peer can.
func (l *lab) setRates(ctx context.Context, works []work, contestants []server) error {
	for i, w := range works {
		if !w.half {
			continue
		}
		rate, err := l.halfOfSlowest(ctx, w, contestants[min(1, len(contestants)-1):])
		if err != nil {
			return fmt.Errorf("finding the slowest peer's maximum: %w", err)
		}
		works[i].rate = rate
		works[i].says += fmt.Sprintf(" (%d a second)", rate)
	}
	return nil
}

// report prints and keeps the results. Where a cell failed, the table is only printed.
func (l *lab) report(res *results, opts options) error {
	table := res.markdown()
	fmt.Print(table)
	path := opts.json
	if path == "" {
		path = filepath.Join(l.root, "bin", "bench.json")
	}
	if err := res.writeJSON(path); err != nil {
		return err
	}
	if len(res.failed) > 0 {
		return fmt.Errorf("%d cells failed:\n%w", len(res.failed), errors.Join(res.failed...))
	}
	if opts.write {
		return writeTable(filepath.Join(l.root, "docs/BENCHMARKS.md"), table)
	}
	return nil
}

// measure lets everybody have a turn at each work, in each round in another order. A cell that fails is left out and told.
func (l *lab) measure(ctx context.Context, opts options, contestants []server) (*results, error) {
	res := newResults(opts, contestants)
	defer res.tellTimes()
	for round := range opts.rounds {
		for _, w := range opts.works {
			for i := range contestants {
				s := contestants[(i+round)%len(contestants)]
				if round >= w.turns(s, opts.rounds) {
					continue
				}
				began := time.Now()
				c, err := w.turn(l, ctx, w, s, opts.duration)
				res.took[w.name] += time.Since(began)
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				if err != nil {
					err = fmt.Errorf("round %d, %s, %s: %w", round+1, w.name, s.name, err)
					fmt.Fprintln(os.Stderr, "FAILED:", err)
					res.failed = append(res.failed, err)
					continue
				}
				res.add(w, s, round, c)
				fmt.Fprintf(os.Stderr, "round %d  %-17s %-8s %s\n", round+1, w.name, s.name, c.String(w))
			}
		}
	}
	return res, nil
}
