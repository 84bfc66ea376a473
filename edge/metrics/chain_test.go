package metrics

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"edge/edge/record"
)

// passedOn gathers a state, as another process reads it.
func passedOn(t *testing.T, s State) Families {
	t.Helper()
	text, err := Families(slices.Collect(maps.Values(gather(t, s)))).Encode()
	if err != nil {
		t.Fatal(err)
	}
	list, err := Decode(text)
	if err != nil || len(list) == 0 {
		t.Fatalf("%d families, %v", len(list), err)
	}
	return list
}

// value finds a series by its family and the values of its labels, in order.
func value(list Families, family string, labels ...string) *dto.Metric {
	for _, f := range list {
		for _, m := range f.Metric {
			var got []string
			for _, l := range m.Label {
				got = append(got, l.GetValue())
			}
			if f.GetName() == family && slices.Equal(got, labels) {
				return m
			}
		}
	}
	return nil
}

// A histogram that two processes have filled is the one that a single process would have, in both its kinds.
func TestSumOfHistograms(t *testing.T) {
	one, two, all := NewSite("a"), NewSite("a"), NewSite("a")
	for i := range 3000 {
		r := &record.Record{Event: record.Request, Took: time.Duration(rand.ExpFloat64() * float64(50*time.Millisecond))}
		if i%100 == 0 {
			r.Took = time.Duration(i) // some are zero
		}
		[]*Site{one, two}[i%2].Count(r)
		all.Count(r)
	}
	of := func(s *Site) State { return State{Sites: map[string]*Site{"a": s}} }
	sum := NewSum(passedOn(t, of(one)))
	sum.Add(passedOn(t, of(two)), false, func(map[string]string) bool { return true })
	const name = "edge_http_request_duration_seconds"
	got, want := value(sum.Families(), name, "a").Histogram, value(passedOn(t, of(all)), name, "a").Histogram
	if d := got.GetSampleSum() - want.GetSampleSum(); d > 1e-6 || d < -1e-6 {
		t.Errorf("the sum is %v, want %v", got.GetSampleSum(), want.GetSampleSum())
	}
	got.SampleSum = want.SampleSum
	if !proto.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

// Of another process's the counts are added; its open connections while it lives; nothing that is not wanted, and nothing that is no share of a whole.
func TestSum(t *testing.T) {
	for _, lives := range []bool{true, false} {
		own := full()
		sum := NewSum(slices.Collect(maps.Values(gather(t, own))))
		other := full()
		other.Listeners = append(other.Listeners, Listener{"gone", 9, 1}, Listener{"back", 7, 1})
		other.Generation = 2
		sum.Add(passedOn(t, other), lives, func(l map[string]string) bool { return l["listener"] != "gone" })
		list := sum.Families()
		share := map[bool]float64{true: 2, false: 1}[lives]
		for _, test := range []struct {
			m    *dto.Metric
			want float64
		}{
			{value(list, "edge_http_requests_total", "2xx", "GET", "a.test"), 2},
			{value(list, "edge_connections_accepted_total", "https"), 10},
			{value(list, "edge_connections_accepted_total", "back"), 7},
			{value(list, "edge_upstream_requests_total", "127.0.0.1:1", "app"), 14},
			{value(list, "edge_access_log_lines_total"), 20},
			{value(list, "edge_connections", "https", "h2", "active"), 2 * share},
			{value(list, "edge_tunnels", "upgrade", "https"), 4 * share},
			{value(list, "edge_upstream_waiting", "app"), 3 * share},
			{value(list, "edge_upstream_set_aside", "127.0.0.1:1", "app"), 1},
			{value(list, "edge_generation"), 3},
		} {
			if test.m == nil || test.m.GetCounter().GetValue()+test.m.GetGauge().GetValue() != test.want {
				t.Errorf("the other lives: %v; %v, want %v", lives, test.m, test.want)
			}
		}
		if m := value(list, "edge_connections_accepted_total", "gone"); m != nil {
			t.Errorf("of what is gone there is %v", m)
		}
		if m := value(list, "edge_http_requests_in_flight", "back"); (m != nil) != lives {
			t.Errorf("the other lives: %v; requests of its listener: %v", lives, m)
		}
		if value(list, "process_cpu_seconds_total") == nil {
			t.Error("what is told of the process is gone")
		}
	}
}

// What is no metrics is an error, and nothing is none.
func TestDecode(t *testing.T) {
	if list, err := Decode(nil); list != nil || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	for _, bad := range []string{"\x05abc", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x02\xff\xff"} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q is taken for metrics", bad)
		}
	}
}
