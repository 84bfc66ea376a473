// Package metrics counts requests, and tells Prometheus how edge is doing.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// State is what is true at the moment of a scrape. Series of what it does not name are gone.
type State struct {
	Version      string
	Generation   int
	Draining     bool
	Sites        map[string]*Site // by name
	Listeners    []Listener
	Connections  []Connections
	Targets      []Target
	Waiting      map[string]int // exchanges in the queue of an upstream, by its name
	Tunnels      []Tunnels
	Certificates []Certificate
	Handshakes   []Handshakes

	FailedHandshakes uint64
	Reloads          Changes
	Upgrades         Changes
	LogWritten       int64
	LogDropped       int64
}

// Listener is what came by a listener.
type Listener struct {
	Name     string
	Accepted uint64 // connections
	InFlight int64  // requests that are being answered
}

// Connections are how many connections of a kind are open.
type Connections struct {
	Listener, Protocol, State string
	Open                      int
}

// Target is a server that is relayed to.
type Target struct {
	Upstream, Name     string
	Requests, Failures uint64 // tunnels are requests too
	InFlight           int
	Aside              bool
}

// Tunnels are how many tunnels of a kind are open.
type Tunnels struct {
	Listener, Kind string
	Open           int
}

// Certificate is one in force.
type Certificate struct {
	Name, Serial string
	NotAfter     time.Time
}

// Handshakes are how many handshakes succeeded in a way.
type Handshakes struct {
	Version string
	Resumed bool
	Count   uint64
}

// Changes are what became of attempts to change something.
type Changes struct {
	OK, Failed uint64
	Refused    uint64    // could not begin, as something else was in progress
	Last       time.Time // zero: there was none
	LastFailed bool
}

// Handler answers a scrape with what gather gives. It is asked for each scrape, by any goroutine. What cannot be told is left out, and log is told.
func Handler(gather func() (Families, error), log *slog.Logger) http.Handler {
	gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return gather() })
	return promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4,
	})
}

// Registry gathers what look sees, and what Go and the kernel say of the process.
func Registry(look func() State) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector(look))
	return r
}

// describe makes a description.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("edge_"+name, help, labels, nil)
}

// Label values are names from the configuration, or words of ours: never what a client or an upstream makes up.
var (
	requests = describe("http_requests_total", "Requests that were answered, by virtual host, method and class of status.", "vhost", "method", "code")
	duration = describe("http_request_duration_seconds", "From the request's head to the answer's end, without tunnels.", "vhost")
	bytesIn  = describe("http_request_body_bytes_total", "Bytes of requests' bodies, and from clients through tunnels.", "vhost")
	bytesOut = describe("http_response_body_bytes_total", "Bytes of answers' bodies, and to clients through tunnels.", "vhost")
	inFlight = describe("http_requests_in_flight", "Requests that are being answered.", "listener")

	accepted    = describe("connections_accepted_total", "Connections that were accepted.", "listener")
	connections = describe("connections", "Open connections, by protocol and state.", "listener", "protocol", "state")
	tunnels     = describe("tunnels", "Open tunnels, by kind.", "listener", "kind")
	handshakes  = describe("tls_handshakes_total", "TLS handshakes with clients that succeeded.", "version", "resumed")
	noHandshake = describe("tls_handshake_failures_total", "TLS handshakes with clients that failed.")

	targetRequests = describe("upstream_requests_total", "Exchanges that a target was chosen for: requests and tunnels.", "upstream", "target")
	targetFailures = describe("upstream_failures_total", "Exchanges that a target failed.", "upstream", "target")
	targetInFlight = describe("upstream_in_flight", "Exchanges that a target is at.", "upstream", "target")
	queued         = describe("upstream_waiting", "Exchanges that wait for a target that has room.", "upstream")
	targetAside    = describe("upstream_set_aside", "Whether a target is set aside because it failed.", "upstream", "target")

	certificate = describe("certificate_expiry_timestamp_seconds", "When a certificate in force ends.", "name", "serial")
	reloads     = describe("reloads_total", "Reloads of the configuration.", "result")
	reloadTime  = describe("reload_last_timestamp_seconds", "When the last reload was.")
	reloadOK    = describe("reload_last_success", "Whether the last reload succeeded; 1 where there was none.")
	upgrades    = describe("upgrades_total", "Upgrades that were begun, and those that were refused because something else was in progress.", "result")
	generation  = describe("generation", "The process's number in the chain of upgrades.")
	draining    = describe("draining", "Whether the process takes no new connections.")
	build       = describe("build_info", "1, with the program's version.", "version", "goversion")
	logWritten  = describe("access_log_lines_total", "Lines of the access log that were written.")
	logDropped  = describe("access_log_lines_dropped_total", "Lines of the access log that were lost.")
)

// collector is a prometheus.Collector. It describes nothing: which series there are depends on the configuration.
type collector func() State

func (collector) Describe(chan<- *prometheus.Desc) {}

func (look collector) Collect(out chan<- prometheus.Metric) {
	s := look()
	for _, site := range s.Sites {
		site.collect(out)
	}
	s.collectConnections(out)
	s.collectTargets(out)
	s.collectProcess(out)
}

func count(out chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge[T int | int64 | float64](out chan<- prometheus.Metric, d *prometheus.Desc, n T, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
}

// truth gives 1 for true, as Prometheus has it.
func truth(is bool) int {
	if is {
		return 1
	}
	return 0
}

// collect tells of a virtual host. What never happened has no series, but for the answers that all hope for.
func (s *Site) collect(out chan<- prometheus.Metric) {
	for m := range s.requests {
		for c := range s.requests[m] {
			n := s.requests[m][c].Load()
			if n > 0 || methods[m] == http.MethodGet && codes[c] == "2xx" {
				count(out, requests, n, s.name, methods[m], codes[c])
			}
		}
	}
	count(out, bytesIn, s.in.Load(), s.name)
	count(out, bytesOut, s.out.Load(), s.name)
	out <- s.duration.sample(duration, s.name)
}

func (s *State) collectConnections(out chan<- prometheus.Metric) {
	for _, l := range s.Listeners {
		count(out, accepted, l.Accepted, l.Name)
		gauge(out, inFlight, l.InFlight, l.Name)
	}
	for _, c := range s.Connections {
		gauge(out, connections, c.Open, c.Listener, c.Protocol, c.State)
	}
	for _, t := range s.Tunnels {
		gauge(out, tunnels, t.Open, t.Listener, t.Kind)
	}
	for _, h := range s.Handshakes {
		count(out, handshakes, h.Count, h.Version, map[bool]string{true: "true", false: "false"}[h.Resumed])
	}
	count(out, noHandshake, s.FailedHandshakes)
}

func (s *State) collectTargets(out chan<- prometheus.Metric) {
	for _, t := range mergedTargets(s.Targets) {
		count(out, targetRequests, t.Requests, t.Upstream, t.Name)
		count(out, targetFailures, t.Failures, t.Upstream, t.Name)
		gauge(out, targetInFlight, t.InFlight, t.Upstream, t.Name)
		gauge(out, targetAside, truth(t.Aside), t.Upstream, t.Name)
	}
	for upstream, n := range s.Waiting {
		gauge(out, queued, n, upstream)
	}
}

// mergedTargets adds up those of one name, as a target over http and one over https: a series may come once.
func mergedTargets(list []Target) map[[2]string]Target {
	merged := map[[2]string]Target{}
	for _, t := range list {
		key := [2]string{t.Upstream, t.Name}
		was := merged[key]
		t.Requests, t.Failures, t.InFlight, t.Aside = t.Requests+was.Requests, t.Failures+was.Failures, t.InFlight+was.InFlight, t.Aside || was.Aside
		merged[key] = t
	}
	return merged
}

// mergedCertificates keeps the one that ends first of those of one name and serial number, as two authorities may give out.
func mergedCertificates(list []Certificate) map[[2]string]Certificate {
	merged := map[[2]string]Certificate{}
	for _, c := range list {
		key := [2]string{c.Name, c.Serial}
		if was, ok := merged[key]; !ok || c.NotAfter.Before(was.NotAfter) {
			merged[key] = c
		}
	}
	return merged
}

func (s *State) collectProcess(out chan<- prometheus.Metric) {
	for _, c := range mergedCertificates(s.Certificates) {
		gauge(out, certificate, float64(c.NotAfter.Unix()), c.Name, c.Serial)
	}
	count(out, reloads, s.Reloads.OK, "ok")
	count(out, reloads, s.Reloads.Failed, "failed")
	if !s.Reloads.Last.IsZero() {
		gauge(out, reloadTime, float64(s.Reloads.Last.UnixNano())/1e9)
	}
	gauge(out, reloadOK, truth(!s.Reloads.LastFailed))
	count(out, upgrades, s.Upgrades.OK, "ok")
	count(out, upgrades, s.Upgrades.Failed, "failed")
	count(out, upgrades, s.Upgrades.Refused, "refused")
	gauge(out, generation, s.Generation)
	gauge(out, draining, truth(s.Draining))
	gauge(out, build, 1, s.Version, runtime.Version())
	count(out, logWritten, uint64(s.LogWritten))
	count(out, logDropped, uint64(s.LogDropped))
}
