package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A load is what a load generator reports. It holds no failed request: those are an error.
type load struct {
	requests int
	duration time.Duration // as asked for
	p50, p99 time.Duration
	cpu      time.Duration // the generator's own
}

// load asks a server for a work.
func (l *lab) load(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	if w.rate > 0 {
		return l.h2load(ctx, w, p, duration)
	}
	out, cpu, err := l.generate(ctx, duration, "wrk", "-t1", fmt.Sprintf("-c%d", w.conns), fmt.Sprintf("-d%.0fs", duration.Seconds()),
		"--latency", "--timeout", "5s", p.url(w))
	if err != nil {
		return load{}, err
	}
	got, err := parseWrk(out, w.size)
	got.duration, got.cpu = duration, cpu
	return got, err
}

// h2load keeps to a rate, which wrk cannot. Its log has each request's time, of which it prints no percentiles.
func (l *lab) h2load(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	log := filepath.Join(l.dir, "h2load.log")
	defer os.Remove(log)
	out, cpu, err := l.generate(ctx, duration, "h2load", "--h1", fmt.Sprintf("-c%d", w.conns), fmt.Sprintf("--rps=%d", w.rate/w.conns),
		fmt.Sprintf("--duration=%.0f", duration.Seconds()), "--log-file="+log, p.url(w))
	if err != nil {
		return load{}, err
	}
	got, err := parseH2load(out, w.size)
	if err != nil {
		return load{}, err
	}
	times, err := os.ReadFile(log)
	if err != nil {
		return load{}, err
	}
	got.duration, got.cpu = duration, cpu
	got.p50, got.p99 = percentiles(string(times))
	return got, nil
}

// generate runs a load generator and gives what it prints and the CPU time that it took.
func (l *lab) generate(ctx context.Context, duration time.Duration, name string, args ...string) (string, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+l.offer())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w: %s", name, err, lastLine(string(out)))
	}
	return string(out), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

var (
	wrkDone    = regexp.MustCompile(`(\d+) requests in \S+, ([\d.]+)([KMGT]?)B read`)
	wrkTrouble = regexp.MustCompile(`Socket errors:.*|Non-2xx.*`)
	wrkP50     = regexp.MustCompile(`\s50%\s+(\S+)`)
	wrkP99     = regexp.MustCompile(`\s99%\s+(\S+)`)
)

// parseWrk reads what wrk prints of requests for bodies of a size. wrk takes a redirect or a short body for a success, so the bytes
// that it read are compared too.
func parseWrk(out string, size int) (load, error) {
	if trouble := wrkTrouble.FindString(out); trouble != "" {
		return load{}, fmt.Errorf("wrk: %s", trouble)
	}
	done, p50, p99 := wrkDone.FindStringSubmatch(out), wrkP50.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out)
	if done == nil || p50 == nil || p99 == nil {
		return load{}, fmt.Errorf("wrk: no result: %s", lastLine(out))
	}
	var got load
	var err [4]error
	got.requests, err[0] = strconv.Atoi(done[1])
	read, e := strconv.ParseFloat(done[2], 64)
	err[1] = e
	got.p50, err[2] = time.ParseDuration(p50[1])
	got.p99, err[3] = time.ParseDuration(p99[1])
	if err := errors.Join(err[:]...); err != nil {
		return load{}, fmt.Errorf("wrk: %w", err)
	}
	read *= math.Pow(kib, float64(strings.Index(" KMGT", done[3]))) // "" is found at 0
	return got, enough(got.requests, read, size)
}

// enough is an error where fewer bytes came than the bodies have. A hundredth is left to wrk's rounding.
func enough(requests int, read float64, size int) error {
	if requests == 0 {
		return errors.New("no request was answered")
	}
	if want := float64(requests) * float64(size); read < 0.99*want {
		return fmt.Errorf("%.0f bytes came for %d requests, want at least %.0f: the answers are short", read, requests, want)
	}
	return nil
}

var (
	h2loadDone = regexp.MustCompile(`requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2load2xx  = regexp.MustCompile(`status codes: (\d+) 2xx`)
	h2loadData = regexp.MustCompile(`\((\d+)\) data`)
)

// parseH2load reads what h2load prints, but for the latencies.
func parseH2load(out string, size int) (load, error) {
	done, good, data := h2loadDone.FindStringSubmatch(out), h2load2xx.FindStringSubmatch(out), h2loadData.FindStringSubmatch(out)
	if done == nil || good == nil || data == nil {
		return load{}, fmt.Errorf("h2load: no result: %s", lastLine(out))
	}
	if done[1] != done[2] || done[1] != good[1] || done[3] != "0" || done[4] != "0" || done[5] != "0" {
		return load{}, fmt.Errorf("%s; %s", done[0], good[0])
	}
	requests, err := strconv.Atoi(done[1])
	if err != nil {
		return load{}, fmt.Errorf("h2load: %w", err)
	}
	read, err := strconv.ParseFloat(data[1], 64)
	if err != nil {
		return load{}, fmt.Errorf("h2load: %w", err)
	}
	return load{requests: requests}, enough(requests, read, size)
}

// percentiles reads h2load's log: a line for each request, with its start, status and microseconds.
func percentiles(log string) (p50, p99 time.Duration) {
	var times []time.Duration
	for line := range strings.Lines(log) {
		if fields := strings.Fields(line); len(fields) >= 3 {
			us, _ := strconv.Atoi(fields[2])
			times = append(times, time.Duration(us)*time.Microsecond)
		}
	}
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}
