package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// profile shows where the time goes: system calls for each request, by strace, then the functions that the CPU was in, by perf. Both slow
// the server, so nothing of it counts as a measurement.
func (l *lab) profile(ctx context.Context, opts options, contestants []server) error {
	for _, w := range opts.works {
		for _, s := range contestants {
			if !w.has(s) {
				continue
			}
			if err := l.profileOne(ctx, w, s, opts.duration); err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, s.name, err)
			}
		}
	}
	return nil
}

func (l *lab) profileOne(ctx context.Context, w work, s server, duration time.Duration) error {
	p, err := l.start(ctx, s, w.setup())
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := l.warm(ctx, w, p); err != nil {
		return err
	}
	calls, err := l.calls(ctx, w, p, duration)
	if err != nil {
		return err
	}
	fmt.Printf("## %s, %s: system calls for each request\n\n%s\n\n", w.says, s.name, calls)
	hot, err := l.hot(ctx, w, p, duration)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", hot)
	return nil
}

// watched runs a tool that watches processes for as long as the load lasts.
func (l *lab) watched(ctx context.Context, w work, p *process, duration time.Duration, tool *exec.Cmd) (load, error) {
	tool.Stderr = os.Stderr
	if err := tool.Start(); err != nil {
		return load{}, err
	}
	got, err := w.load(l, ctx, w, p, duration)
	tool.Process.Signal(os.Interrupt)
	tool.Wait() // both tools end by the signal that they get
	return got, err
}

// calls counts system calls. strace attaches while the load begins, so the first requests are not seen: a hundredth or so.
func (l *lab) calls(ctx context.Context, w work, p *process, duration time.Duration) (string, error) {
	pids, err := tree(p.cmd.Process.Pid)
	if err != nil {
		return "", err
	}
	out := filepath.Join(p.site.Dir, "strace")
	args := []string{"-qq", "-f", "-c", "-o", out}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	got, err := l.watched(ctx, w, p, duration, exec.CommandContext(ctx, "strace", args...))
	if err != nil {
		return "", err
	}
	table, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	return parseCalls(string(table), got.requests), nil
}

// parseCalls reads strace's table, whose lines are: % time, seconds, usecs/call, calls, errors (may be missing), name.
func parseCalls(table string, requests int) string {
	type call struct {
		name           string
		count, errored float64
	}
	var calls []call
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 5 || f[len(f)-1] == "total" {
			continue
		}
		count, err := strconv.Atoi(f[3])
		if err != nil {
			continue
		}
		c := call{name: f[len(f)-1], count: float64(count) / float64(requests)}
		if len(f) == 6 {
			n, _ := strconv.Atoi(f[4])
			c.errored = float64(n) / float64(requests)
		}
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(b.count, a.count) })
	var parts []string
	total := 0.0
	for _, c := range calls {
		total += c.count
		if c.count < 0.005 {
			continue
		}
		part := fmt.Sprintf("%s %.2f", c.name, c.count)
		if c.errored >= 0.005 {
			part += fmt.Sprintf(" (%.2f failed)", c.errored)
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("%.2f: %s", total, strings.Join(parts, ", "))
}

// hot lists the functions that the CPU was in most.
func (l *lab) hot(ctx context.Context, w work, p *process, duration time.Duration) (string, error) {
	pids, err := tree(p.cmd.Process.Pid)
	if err != nil {
		return "", err
	}
	var list []string
	for _, pid := range pids {
		list = append(list, strconv.Itoa(pid))
	}
	data := filepath.Join(p.site.Dir, "perf.data")
	record := exec.CommandContext(ctx, "perf", "record", "-q", "-F", "999", "-o", data, "-p", strings.Join(list, ","))
	if _, err := l.watched(ctx, w, p, duration, record); err != nil {
		return "", err
	}
	report := exec.CommandContext(ctx, "perf", "report", "-q", "--stdio", "--sort", "symbol", "--percent-limit", "0.8", "-i", data)
	text, err := report.Output()
	return hotLines(string(text)), err
}

// hotLines takes perf's empty columns away.
func hotLines(report string) string {
	var b strings.Builder
	for line := range strings.Lines(report) {
		if line = strings.TrimRight(line, " -\n"); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
