package metrics

import (
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"edge/edge/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full is a state in which every series is.
func full() State {
	site := NewSite("a.test")
	site.Count(&record.Record{Event: record.Request, Method: []byte("GET"), Status: 200, BytesIn: 1, BytesOut: 2, Took: time.Millisecond})
	return State{
		Version: "v1", Generation: 3, Draining: true, Sites: map[string]*Site{"a.test": site, "-": NewSite("-")},
		Listeners:    []Listener{{"https", 5, 1}, {"http", 0, 0}},
		Connections:  []Connections{{"https", "h2", "active", 2}},
		Targets:      []Target{{"app", "127.0.0.1:1", 6, 2, 1, true}, {"app", "127.0.0.1:1", 1, 0, 0, false}, {"app", "127.0.0.1:2", 7, 0, 0, false}},
		Waiting:      map[string]int{"app": 3},
		Tunnels:      []Tunnels{{"https", "upgrade", 4}},
		Certificates: []Certificate{{"a.test", "01", time.Unix(1e9, 0)}, {"a.test", "02", time.Unix(2e9, 0)}, {"a.test", "02", time.Unix(3e9, 0)}},
		Handshakes:   []Handshakes{{"1.3", true, 9}, {"1.3", false, 8}}, FailedHandshakes: 6,
		Reloads: Changes{OK: 1, Failed: 2, Last: time.Unix(1e9, 5e8), LastFailed: true}, Upgrades: Changes{Failed: 1, Refused: 4},
		LogWritten: 10, LogDropped: 11,
	}
}

func gather(t *testing.T, s State) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := Registry(func() State { return s }).Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// Names, units and helps are as the linter of Prometheus wants them.
func TestLint(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(slices.Collect(maps.Values(gather(t, full())))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// What a scrape in text holds of a state.
func TestText(t *testing.T) {
	w := httptest.NewRecorder()
	handler := Handler(func() (Families, error) { return Registry(full).Gather() }, slog.New(slog.DiscardHandler))
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{
		`edge_http_requests_total{code="2xx",method="GET",vhost="a.test"} 1`, `edge_http_requests_total{code="2xx",method="GET",vhost="-"} 0`,
		`edge_http_request_duration_seconds_bucket{vhost="a.test",le="0.0009765625"} 0`, `edge_http_request_duration_seconds_bucket{vhost="a.test",le="0.001953125"} 1`,
		`edge_http_request_duration_seconds_bucket{vhost="a.test",le="+Inf"} 1`, `edge_http_request_duration_seconds_sum{vhost="a.test"} 0.001`,
		`edge_http_request_body_bytes_total{vhost="a.test"} 1`, `edge_http_response_body_bytes_total{vhost="a.test"} 2`,
		`edge_http_requests_in_flight{listener="https"} 1`, `edge_connections_accepted_total{listener="https"} 5`,
		`edge_connections{listener="https",protocol="h2",state="active"} 2`, `edge_tunnels{kind="upgrade",listener="https"} 4`,
		`edge_tls_handshakes_total{resumed="true",version="1.3"} 9`, `edge_tls_handshake_failures_total 6`,
		`edge_upstream_requests_total{target="127.0.0.1:1",upstream="app"} 7`, `edge_upstream_failures_total{target="127.0.0.1:1",upstream="app"} 2`,
		`edge_upstream_in_flight{target="127.0.0.1:1",upstream="app"} 1`, `edge_upstream_set_aside{target="127.0.0.1:1",upstream="app"} 1`,
		`edge_upstream_set_aside{target="127.0.0.1:2",upstream="app"} 0`, `edge_upstream_waiting{upstream="app"} 3`,
		`edge_certificate_expiry_timestamp_seconds{name="a.test",serial="02"} 2e+09`,
		`edge_reloads_total{result="failed"} 2`, `edge_reload_last_timestamp_seconds 1.0000000005e+09`, `edge_reload_last_success 0`,
		`edge_upgrades_total{result="failed"} 1`, `edge_upgrades_total{result="refused"} 4`, `edge_generation 3`, `edge_draining 1`, `edge_build_info{goversion="go`, `version="v1"} 1`,
		`edge_access_log_lines_total 10`, `edge_access_log_lines_dropped_total 11`, "\ngo_goroutines ", "\nprocess_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || w.Code != http.StatusOK {
		t.Logf("%d\n%s", w.Code, text)
	}
}

// A histogram tells the same as one of client_golang that has seen the same.
func TestHistogram(t *testing.T) {
	s := NewSite("a")
	oracle := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "a", Help: "b", NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: math.Exp2(lowest),
		Buckets: prometheus.ExponentialBuckets(math.Exp2(lowestClassic), 2, highestClassic-lowestClassic+1),
	})
	took := []time.Duration{
		0, -5, 1, 500, 953, 954, 1000, time.Millisecond, time.Second / 1024, time.Second / 2, time.Second, time.Second, time.Second + 1, 2 * time.Second,
		128 * time.Second, 11 * 24 * time.Hour,
	}
	for range 2000 {
		took = append(took, time.Duration(rand.ExpFloat64()*float64(50*time.Millisecond)))
	}
	for _, d := range took {
		s.Count(&record.Record{Event: record.Request, Took: d})
		oracle.Observe(max(d, 0).Seconds())
	}
	var want dto.Metric
	if err := oracle.Write(&want); err != nil {
		t.Fatal(err)
	}
	got, wanted := gather(t, State{Sites: map[string]*Site{"a": s}})["edge_http_request_duration_seconds"].Metric[0].Histogram, want.Histogram
	if got.GetSampleCount() != wanted.GetSampleCount() || math.Abs(got.GetSampleSum()-wanted.GetSampleSum()) > 1e-6*wanted.GetSampleSum() {
		t.Errorf("%d samples of %v, want %d of %v", got.GetSampleCount(), got.GetSampleSum(), wanted.GetSampleCount(), wanted.GetSampleSum())
	}
	if got.GetSchema() != wanted.GetSchema() || got.GetZeroCount() != wanted.GetZeroCount() || got.GetZeroThreshold() != wanted.GetZeroThreshold() {
		t.Errorf("schema %d, %d at most %v; want %d, %d, %v", got.GetSchema(), got.GetZeroCount(), got.GetZeroThreshold(),
			wanted.GetSchema(), wanted.GetZeroCount(), wanted.GetZeroThreshold())
	}
	if a, b := native(got), native(wanted); !maps.Equal(a, b) {
		t.Errorf("native buckets %v\nwant %v", a, b)
	}
	if a, b := classic(got), classic(wanted); !maps.Equal(a, b) {
		t.Errorf("classic buckets %v\nwant %v", a, b)
	}
	s.Count(&record.Record{Event: record.Request, Took: math.MaxInt64})
	if n := s.duration.buckets[lastKey-firstKey].Load(); n != 1 {
		t.Errorf("%d above all buckets", n)
	}
}

// native gives a histogram's native buckets that hold anything.
func native(h *dto.Histogram) map[int]int64 {
	all, key, n, i := map[int]int64{}, 0, int64(0), 0
	for _, span := range h.PositiveSpan {
		key += int(span.GetOffset())
		for range span.GetLength() {
			if n += h.PositiveDelta[i]; n > 0 {
				all[key] = n
			}
			i++
			key++
		}
	}
	return all
}

// classic gives a histogram's classic buckets.
func classic(h *dto.Histogram) map[float64]uint64 {
	all := map[float64]uint64{}
	for _, b := range h.Bucket {
		all[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	return all
}

// Label values are ours: whatever clients and upstreams make up is one of a few words.
func TestBounded(t *testing.T) {
	s := NewSite("a")
	for status := -1; status < 2000; status++ {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "", "X" + strings.Repeat("Y", status+1)} {
			s.Count(&record.Record{Event: record.Request, Method: []byte(method), Status: status, Host: []byte(method), Path: []byte(method)})
		}
	}
	seen, total := map[string]map[string]bool{"method": {}, "code": {}, "vhost": {}}, 0.0
	for _, m := range gather(t, State{Sites: map[string]*Site{"a": s}})["edge_http_requests_total"].Metric {
		total += m.Counter.GetValue()
		for _, l := range m.Label {
			seen[l.GetName()][l.GetValue()] = true
		}
	}
	words := func(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), " ") }
	if got := words(seen["method"]); got != "DELETE GET HEAD OPTIONS PATCH POST PUT other" {
		t.Errorf("methods %s", got)
	}
	if got := words(seen["code"]); got != "1xx 2xx 3xx 4xx 5xx none other" {
		t.Errorf("codes %s", got)
	}
	if words(seen["vhost"]) != "a" || total != 2001*11 {
		t.Errorf("vhosts %s, %v requests", words(seen["vhost"]), total)
	}
}

// A tunnel's request counts when it opens, its bytes when it ends, its time not at all.
func TestTunnelCounts(t *testing.T) {
	s := NewSite("a")
	r := &record.Record{Event: record.TunnelOpened, Method: []byte("GET"), Status: 101}
	s.Count(r)
	if n := s.requests[0][1].Load(); n != 1 {
		t.Errorf("%d requests when it opens", n)
	}
	r.Event, r.BytesIn, r.BytesOut, r.Took = record.TunnelEnded, 5, 6, time.Hour
	s.Count(r)
	if n := s.requests[0][1].Load(); n != 1 || s.in.Load() != 5 || s.out.Load() != 6 {
		t.Errorf("%d requests when it ends, %d bytes, %d", n, s.in.Load(), s.out.Load())
	}
	if m := gather(t, State{Sites: map[string]*Site{"a": s}})["edge_http_request_duration_seconds"].Metric[0]; m.Histogram.GetSampleCount() != 0 {
		t.Errorf("its time counts: %v", m)
	}
}

func TestCountAllocatesNothing(t *testing.T) {
	s, r := NewSite("a"), &record.Record{Event: record.Request, Method: []byte("GET"), Status: 200, BytesIn: 1, BytesOut: 2}
	if n := testing.AllocsPerRun(1000, func() { r.Took += time.Microsecond; s.Count(r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkCount is what a request costs more because it is counted.
func BenchmarkCount(b *testing.B) {
	s := NewSite("a")
	b.RunParallel(func(pb *testing.PB) {
		r := &record.Record{Event: record.Request, Method: []byte("GET"), Status: 200, BytesOut: 2}
		for pb.Next() {
			r.Took += time.Microsecond
			s.Count(r)
		}
	})
}
