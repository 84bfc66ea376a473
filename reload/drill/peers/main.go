// Command peers has the strict clients of `edge drill` ask nginx, HAProxy and Caddy, and edge beside them, while they reload or replace their program.
// docs/ZERO-LOSS.md has its last table. It knows each of them only as a program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	edge     string // the program
	only     []string
	reloads  int
	upgrades int
	period   time.Duration // the changes of each contestant are spread over so long, at least
	clients  int           // of each kind
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	// Where Debian has servers, and users have no PATH to.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	// From here on an interrupt is a return, so that everything started is ended.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.StringVar(&o.edge, "edge", "bin/edge", "the edge to drill beside the others")
	only := flags.String("only", "", "the contestants whose names contain one of these words, with commas")
	flags.IntVar(&o.reloads, "reloads", 40, "how many reloads of each")
	flags.IntVar(&o.upgrades, "upgrades", 10, "how often the program is replaced, of those that can")
	flags.DurationVar(&o.period, "for", 40*time.Second, "how long the changes of each are spread over, at least")
	flags.IntVar(&o.clients, "clients", 1, "how many clients of each kind")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	if flags.NArg() > 0 || o.reloads < 1 || o.upgrades < 1 || o.clients < 1 {
		return o, errors.New("reloads, upgrades and clients are at least 1, and there are only flags")
	}
	return o, nil
}

// chosen says whether a contestant is to be drilled.
func (o options) chosen(name string) bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(word string) bool { return strings.Contains(name, word) })
}

// run drills one after the other and prints the tables.
func run(ctx context.Context, o options) error {
	if err := adopt(); err != nil {
		return err
	}
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	var outcomes []*outcome
	var failed []error // those of one contestant do not spoil the others' figures
	for _, c := range contestants {
		if !o.chosen(c.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s, %s ...\n", c.name, c.event)
		found, err := l.drill(ctx, c)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", c.name, c.event, err)
			fmt.Fprintln(os.Stderr, err)
			failed = append(failed, err)
			continue
		}
		outcomes = append(outcomes, found)
	}
	return errors.Join(append(failed, printTables(os.Stdout, outcomes))...)
}
