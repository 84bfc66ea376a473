package metrics

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

// Families are what a Registry gathers: all that is told of one process, or of several together.
type Families []*dto.MetricFamily

// shared are the gauges that processes have a share of each; any other gauge tells of one process, or of what all of them have.
var shared = map[string]bool{
	"edge_http_requests_in_flight": true, "edge_connections": true, "edge_tunnels": true, "edge_upstream_in_flight": true, "edge_upstream_waiting": true,
}

// adds says whether another process's families of this name and type are to be added. What the kernel says of the network all processes share.
func adds(f *dto.MetricFamily, lives bool) bool {
	switch f.GetType() {
	case dto.MetricType_GAUGE:
		return lives && shared[f.GetName()]
	case dto.MetricType_COUNTER, dto.MetricType_HISTOGRAM, dto.MetricType_SUMMARY:
		return !strings.HasPrefix(f.GetName(), "process_network_")
	}
	return false
}

// Encode writes what of the families can be added to another process's.
func (list Families) Encode() ([]byte, error) {
	var b bytes.Buffer
	for _, f := range list {
		if !adds(f, true) {
			continue
		}
		if _, err := protodelim.MarshalTo(&b, f); err != nil {
			return nil, fmt.Errorf("metric %s: %w", f.GetName(), err)
		}
	}
	return b.Bytes(), nil
}

// Decode reads what Encode wrote.
func Decode(text []byte) (list Families, err error) {
	r := bufio.NewReader(bytes.NewReader(text))
	for {
		f := new(dto.MetricFamily)
		switch err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(r, f); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("metrics: %w", err)
		}
		list = append(list, f)
	}
}

// Sum adds up what several processes tell: counters, histograms, and how many and how much of summaries; shared gauges only of those that live. Of what
// only one of them has there is what that one tells.
type Sum struct {
	families map[string]*dto.MetricFamily
	series   map[string]*dto.Metric // by family and labels
}

// NewSum gives a sum that begins with the process's own, which it changes.
func NewSum(own Families) *Sum {
	s := &Sum{families: map[string]*dto.MetricFamily{}, series: map[string]*dto.Metric{}}
	for _, f := range own {
		s.families[f.GetName()] = f
		for _, m := range f.Metric {
			s.series[key(f, m)] = m
		}
	}
	return s
}

// key names a series. A gatherer has its labels in order.
func key(f *dto.MetricFamily, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(f.GetName())
	for _, l := range m.Label {
		b.WriteString("\xff" + l.GetName() + "\xfe" + l.GetValue())
	}
	return b.String()
}

// Add adds another process's families, which it changes: of its counts those that wanted wants, by their labels; of a process that lives its share of gauges too.
func (s *Sum) Add(list Families, lives bool, wanted func(labels map[string]string) bool) {
	for _, f := range list {
		isGauge := f.GetType() == dto.MetricType_GAUGE
		into := s.families[f.GetName()]
		if !adds(f, lives) || into != nil && into.GetType() != f.GetType() {
			continue
		}
		for _, m := range f.Metric {
			if !isGauge && !wanted(labels(m)) {
				continue
			}
			if into == nil {
				into = &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type}
				s.families[f.GetName()] = into
			}
			s.add(into, m)
		}
	}
}

func labels(m *dto.Metric) map[string]string {
	l := map[string]string{}
	for _, pair := range m.Label {
		l[pair.GetName()] = pair.GetValue()
	}
	return l
}

func (s *Sum) add(f *dto.MetricFamily, m *dto.Metric) {
	was := s.series[key(f, m)]
	if was == nil {
		s.series[key(f, m)] = m
		f.Metric = append(f.Metric, m)
		return
	}
	switch {
	case was.Counter != nil && m.Counter != nil:
		was.Counter.Value = new(was.Counter.GetValue() + m.Counter.GetValue())
	case was.Gauge != nil && m.Gauge != nil:
		was.Gauge.Value = new(was.Gauge.GetValue() + m.Gauge.GetValue())
	case was.Summary != nil && m.Summary != nil:
		was.Summary.SampleCount = new(was.Summary.GetSampleCount() + m.Summary.GetSampleCount())
		was.Summary.SampleSum = new(was.Summary.GetSampleSum() + m.Summary.GetSampleSum())
	case was.Histogram != nil && m.Histogram != nil:
		addHistogram(was, m)
	}
}

// addHistogram adds a histogram to one like it. Of another schema than ours, as a program to come may have, none is added.
func addHistogram(was, m *dto.Metric) {
	a, b := parse(was.Histogram), parse(m.Histogram)
	if a == nil || b == nil {
		return
	}
	counts := map[int]uint64{}
	for _, s := range []*sample{a, b} {
		for i, k := range s.keys {
			counts[k] += s.counts[i]
		}
	}
	sum := &sample{labels: was.Label, count: a.count + b.count, zero: a.zero + b.zero, sum: a.sum + b.sum, keys: slices.Sorted(maps.Keys(counts))}
	for _, k := range sum.keys {
		sum.counts = append(sum.counts, counts[k])
	}
	sum.Write(was)
}

// parse reads a histogram that a sample has written; nil: it is of another kind.
func parse(h *dto.Histogram) *sample {
	if h.Schema == nil || h.GetSchema() != schema {
		return nil
	}
	s := &sample{count: h.GetSampleCount(), zero: h.GetZeroCount(), sum: h.GetSampleSum()}
	next, n, i := 0, int64(0), 0
	for _, span := range h.PositiveSpan {
		next += int(span.GetOffset())
		for range span.GetLength() {
			if i == len(h.PositiveDelta) {
				return nil
			}
			n += h.PositiveDelta[i]
			s.keys, s.counts = append(s.keys, next), append(s.counts, uint64(n))
			next, i = next+1, i+1
		}
	}
	return s
}

// Families gives the sum, in order.
func (s *Sum) Families() Families {
	list := slices.SortedFunc(maps.Values(s.families), func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	for _, f := range list {
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int { return cmp.Compare(key(f, a), key(f, b)) })
	}
	return list
}
