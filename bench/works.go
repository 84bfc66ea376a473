package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A work is what is asked of every server, how, and what is measured meanwhile: one row of the table for each figure.
type work struct {
	name   string
	says   string // for the table
	https  bool
	path   string
	size   int // of the answer's body
	conns  int
	rate   int  // requests a second in all; 0: as fast as it goes
	half   bool // rate is half of what the slowest peer can, found out before the first round
	log    bool
	vhosts int // virtual hosts that are configured beside; 0: none

	load    loader
	warm    loader // nil: load
	turn    func(*lab, context.Context, work, server, time.Duration) (*cell, error)
	figures []figure
	lacks   []string       // peers that have no such thing
	rounds  map[string]int // at most, of peers that are too slow for all
	extra   bool           // it is measured only where it is named
}

// A loader has a server work for about so long, and checks every answer.
type loader func(*lab, context.Context, work, *process, time.Duration) (load, error)

// A figure is what is compared: less is better.
type figure struct {
	says   string // added to what the work says; may be ""
	unit   string
	digits int
	of     func(work, *cell) float64
	bound  map[string]float64 // how much of a peer's edge's may be
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

func atMost(nginx, haproxy, caddy float64) map[string]float64 {
	return map[string]float64{"nginx": nginx, "haproxy": haproxy, "caddy": caddy}
}

func cpuEach(bound map[string]float64) []figure {
	return []figure{{unit: "µs", digits: 2, of: (work).perRequest, bound: bound}}
}

func cpuPerGB(bound map[string]float64) []figure {
	return []figure{{unit: "ms/GB", of: (work).perGB, bound: bound}}
}

func (work) perRequest(c *cell) float64 { return c.own.Seconds() * 1e6 / float64(c.requests) }

func (w work) perGB(c *cell) float64 {
	return c.own.Seconds() * 1e3 / (float64(c.requests) * float64(w.size) / 1e9)
}

// slow gives those two fewer turns whose starts and reloads of 10,000 virtual hosts take ten seconds and more.
var slow = map[string]int{"nginx": 3, "caddy": 2}

var works = []work{
	{name: "https-1k", says: "HTTPS, 1 KiB", https: true, path: "/1k", size: kib, conns: 64,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.85, 0.75, 0.12))},
	{name: "https-1k-log", says: "HTTPS, 1 KiB, access log", https: true, path: "/1k", size: kib, conns: 64, log: true,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.85, 0.75, 0.12))},
	{name: "h2-1k", says: "HTTP/2, 1 KiB, 32 × 16 streams", https: true, path: "/1k", size: kib, conns: 32,
		load: (*lab).h2, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.75, 0.7, 0.1))},
	{name: "grpc", says: "gRPC, a unary call, 32 × 16 streams", https: true, path: grpcMethod, conns: 32,
		load: (*lab).grpc, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.8, 0.8, 0.2))},
	{name: "http-1k", says: "plain, 1 KiB", path: "/1k", size: kib, conns: 64,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(atMost(1, 0.85, 0.15))},
	{name: "https-rate", says: "HTTPS, 1 KiB, 5,000 a second", https: true, path: "/1k", size: kib, conns: 50, rate: 5000,
		load: (*lab).atRate, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.9, 0.85, 0.2))},
	{name: "https-64k", says: "HTTPS, 64 KiB", https: true, path: "/64k", size: 64 * kib, conns: 64,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuPerGB(atMost(0.75, 0.75, 0.35))},
	{name: "https-1m", says: "HTTPS, 1 MiB", https: true, path: "/1m", size: mib, conns: 16,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuPerGB(atMost(0.75, 0.8, 0.8))},
	{name: "static-1k", says: "HTTPS, a file of 1 KiB", https: true, path: "/static/1k.txt", size: kib, conns: 64, lacks: []string{"haproxy"},
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.8, 0, 0.2))},
	{name: "static-1m", says: "HTTPS, a file of 1 MiB", https: true, path: "/static/1m.txt", size: mib, conns: 16, lacks: []string{"haproxy"},
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuPerGB(atMost(0.75, 0, 0.7))},
	{name: "handshake-full", says: "full handshake", https: true, path: "/1k", size: kib, conns: 16,
		load: (*lab).fullHandshakes, turn: (*lab).cpuTurn, figures: cpuEach(atMost(0.9, 1, 0.9))},
	{name: "handshake-resumed", says: "resumed handshake", https: true, path: "/1k", size: kib, conns: 16,
		load: (*lab).resumedHandshakes, turn: (*lab).cpuTurn, figures: cpuEach(atMost(1, 1.1, 1))},
	{name: "latency", says: "HTTPS, 1 KiB, half the slowest peer's maximum", https: true, path: "/1k", size: kib, conns: 64, half: true,
		load: (*lab).onSchedule, turn: (*lab).cpuTurn, figures: []figure{
			{says: "p50", unit: "ms", digits: 2, of: (work).p50, bound: atMost(1, 1, 1)},
			{says: "p99", unit: "ms", digits: 2, of: (work).p99, bound: atMost(1, 1, 1)},
		}},
	{name: "idle", says: "memory of an idle TLS connection", https: true, path: "/1k", size: kib, conns: 9000,
		load: (*lab).visits, turn: (*lab).idleTurn, figures: []figure{{unit: "KiB", digits: 1, of: (work).perConnection, bound: atMost(0.75, 0.75, 0.3)}}},
	{name: "reload", says: "reload of 10,000 virtual hosts", https: true, path: "/1k", size: kib, vhosts: 10_000, rounds: slow,
		load: (*lab).reloads, turn: (*lab).reloadTurn, figures: []figure{
			{says: "until seen", unit: "s", digits: 2, of: (work).untilSeen, bound: atMost(0.05, 1, 0.03)},
			{says: "memory at its peak", unit: "MiB", of: (work).peakMemory, bound: atMost(0.3, 1, 0.6)},
		}},
	{name: "http-1k-log", says: "plain, 1 KiB, access log", path: "/1k", size: kib, conns: 64, log: true, extra: true,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(nil)},
	{name: "http-1m", says: "plain, 1 MiB", path: "/1m", size: mib, conns: 16, extra: true,
		load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuPerGB(nil)},
	{name: "static-1k-cached", extra: true, says: "HTTPS, a file of 1 KiB, nginx keeps it open too", https: true, path: "/cached/1k.txt", size: kib, conns: 64,
		lacks: []string{"haproxy"}, load: (*lab).wrk, warm: (*lab).warmH1, turn: (*lab).cpuTurn, figures: cpuEach(nil)},
}

// has is false of a peer that lacks the work.
func (w work) has(s server) bool { return !slices.Contains(w.lacks, s.name) }

// reloads is true of a work in which a server's processes end, or a command of its own runs: their CPU time cannot be told from that of others.
func (w work) reloads() bool { return w.vhosts > 0 }

// turns is how many rounds of so many a server has a turn in.
func (w work) turns(s server, rounds int) int {
	if !w.has(s) {
		return 0
	}
	if n, ok := w.rounds[s.name]; ok {
		return min(n, rounds)
	}
	return rounds
}

// extras are the works that are measured only where they are named.
func extras() []string {
	var names []string
	for _, w := range works {
		if w.extra {
			names = append(names, w.name)
		}
	}
	return names
}

func workNames() []string {
	var names []string
	for _, w := range works {
		names = append(names, w.name)
	}
	return names
}

// chooseWorks gives the works of a list with commas in the order of the table; "" is all but the extra ones.
func chooseWorks(list string) ([]work, error) {
	if list == "" {
		return slices.DeleteFunc(slices.Clone(works), func(w work) bool { return w.extra }), nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(workNames(), name) {
			return nil, fmt.Errorf("no work is called %q; there are %s", name, strings.Join(workNames(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(works), func(w work) bool { return !slices.Contains(names, w.name) }), nil
}
