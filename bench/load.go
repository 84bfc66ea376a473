package main

import (
	"cmp"
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

// wrk asks as fast as it goes, for whole seconds.
func (l *lab) wrk(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	out, cpu, err := l.generate(ctx, duration, "wrk", "-t1", fmt.Sprintf("-c%d", w.conns), fmt.Sprintf("-d%.0fs", duration.Seconds()),
		"--latency", "--timeout", "5s", p.url(w))
	if err != nil {
		return load{}, err
	}
	got, err := parseWrk(out, w.size)
	got.duration, got.cpu = duration, cpu
	return got, err
}

// atRate keeps to a rate, which wrk cannot. h2load's log has each request's time, of which it prints no percentiles.
func (l *lab) atRate(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	log := filepath.Join(l.dir, "h2load.log")
	defer os.Remove(log)
	got, err := l.h2load(ctx, w, p, duration, "--h1", fmt.Sprintf("--rps=%d", w.rate/w.conns), "--log-file="+log, fmt.Sprintf("--duration=%dms", duration.Milliseconds()))
	if err != nil {
		return load{}, err
	}
	times, err := os.ReadFile(log)
	if err != nil {
		return load{}, err
	}
	got.p50, got.p99 = percentiles(loggedTimes(string(times)))
	return got, nil
}

// h2 has 16 streams on each connection. It asks a number of times that takes about so long by what the load before took: at the end of a given
// time 512 requests would be left half answered, which is a large part of what a slow server does in a second.
func (l *lab) h2(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	rate := cmp.Or(p.rate, 10_000)
	got, err := l.h2load(ctx, w, p, duration, "-m16", fmt.Sprintf("-n%d", int(rate*duration.Seconds())))
	if err != nil {
		return load{}, err
	}
	p.rate = float64(got.requests) / got.duration.Seconds()
	return got, nil
}

// warmH1 is for works that wrk loads, which would take a whole second, or h2load at a rate. It asks 10,000 times, or for 300 MiB. A given time is not for
// warming up: h2load waits for ever where it is over before every connection is there.
func (l *lab) warmH1(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	return l.h2load(ctx, w, p, duration, "--h1", fmt.Sprintf("-n%d", min(10_000, 300*mib/w.size)))
}

func (l *lab) h2load(ctx context.Context, w work, p *process, duration time.Duration, args ...string) (load, error) {
	args = slices.Concat(args, []string{fmt.Sprintf("-c%d", w.conns), p.url(w)})
	out, cpu, err := l.generate(ctx, duration, "h2load", args...)
	if err != nil {
		return load{}, err
	}
	got, err := parseH2load(out, w.size)
	got.cpu = cpu
	return got, err
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
	h2loadDone  = regexp.MustCompile(`requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadCode  = regexp.MustCompile(`status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx`)
	h2loadCodes = regexp.MustCompile(`status codes: .*`)
	h2loadTook  = regexp.MustCompile(`finished in (\S+),`)
	h2loadData  = regexp.MustCompile(`\((\d+)\) data`)
)

// parseH2load reads what h2load prints, but for the latencies. Of what was under way when its time was over the status may be counted already, and the
// requests are not.
func parseH2load(out string, size int) (load, error) {
	done, took, data := h2loadDone.FindStringSubmatch(out), h2loadTook.FindStringSubmatch(out), h2loadData.FindStringSubmatch(out)
	if done == nil || took == nil || data == nil {
		return load{}, fmt.Errorf("h2load: no result: %s", lastLine(out))
	}
	good := h2loadCode.FindStringSubmatch(out)
	if good == nil {
		return load{}, fmt.Errorf("h2load: %s", h2loadCodes.FindString(out))
	}
	if done[1] != done[2] || done[3] != "0" || done[4] != "0" || done[5] != "0" {
		return load{}, fmt.Errorf("h2load: %s", done[0])
	}
	requests, err1 := strconv.Atoi(done[1])
	answered, err2 := strconv.Atoi(good[1])
	read, err3 := strconv.ParseFloat(data[1], 64)
	duration, err4 := time.ParseDuration(took[1])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return load{}, fmt.Errorf("h2load: %w", err)
	}
	if answered < requests {
		return load{}, fmt.Errorf("h2load: %s; %s", done[0], good[0])
	}
	return load{requests: requests, duration: duration}, enough(requests, read, size)
}

// loggedTimes reads h2load's log: a line for each request, with its start, status and microseconds.
func loggedTimes(log string) []time.Duration {
	var times []time.Duration
	for line := range strings.Lines(log) {
		if fields := strings.Fields(line); len(fields) >= 3 {
			us, _ := strconv.Atoi(fields[2])
			times = append(times, time.Duration(us)*time.Microsecond)
		}
	}
	return times
}

// percentiles sorts the times; of none they are 0.
func percentiles(times []time.Duration) (p50, p99 time.Duration) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}
