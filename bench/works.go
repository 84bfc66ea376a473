package main

import (
	"fmt"
	"slices"
	"strings"
)

// A work is one row of the benchmark: what is asked for, how, and how much less CPU edge shall take than each peer.
type work struct {
	name  string
	says  string // for the table
	https bool
	path  string
	size  int // of the answer's body
	conns int
	rate  int // requests a second in all, by h2load; 0: as fast as it goes, by wrk
	log   bool
	perGB bool // the cost is counted by the bytes of the bodies
	bound map[string]float64
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

var (
	relayTLS   = map[string]float64{"nginx": 0.90, "haproxy": 0.85, "caddy": 0.15}
	relayPlain = map[string]float64{"nginx": 1.10, "haproxy": 0.95, "caddy": 0.15}
	relayLarge = map[string]float64{"nginx": 0.90, "haproxy": 0.90}
)

var works = []work{
	{name: "https-1k", says: "HTTPS, 1 KiB", https: true, path: "/1k", size: kib, conns: 64, bound: relayTLS},
	{name: "https-1k-log", says: "HTTPS, 1 KiB, access log", https: true, path: "/1k", size: kib, conns: 64, log: true, bound: relayTLS},
	{name: "http-1k", says: "plain, 1 KiB", path: "/1k", size: kib, conns: 64, bound: relayPlain},
	{name: "http-1k-log", says: "plain, 1 KiB, access log", path: "/1k", size: kib, conns: 64, log: true, bound: relayPlain},
	{name: "https-1m", says: "HTTPS, 1 MiB", https: true, path: "/1m", size: mib, conns: 16, perGB: true, bound: relayLarge},
	{name: "http-1m", says: "plain, 1 MiB", path: "/1m", size: mib, conns: 16, perGB: true, bound: relayLarge},
	{name: "https-64k", says: "HTTPS, 64 KiB", https: true, path: "/64k", size: 64 * kib, conns: 64, perGB: true},
	{name: "https-rate", says: "HTTPS, 1 KiB, 5,000 a second", https: true, path: "/1k", size: kib, conns: 50, rate: 5000},
	{name: "static-1k", says: "HTTPS, a file of 1 KiB", https: true, path: "/static/1k.txt", size: kib, conns: 64},
}

func workNames() []string {
	var names []string
	for _, w := range works {
		names = append(names, w.name)
	}
	return names
}

// chooseWorks gives the works of a list with commas in the order of the table; "" is all of them.
func chooseWorks(list string) ([]work, error) {
	if list == "" {
		return works, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(workNames(), name) {
			return nil, fmt.Errorf("no work is called %q; there are %s", name, strings.Join(workNames(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(works), func(w work) bool { return !slices.Contains(names, w.name) }), nil
}
