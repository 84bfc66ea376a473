package metrics

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A native histogram of schema 3 has eight buckets for each power of two: bucket k holds what is above 2^((k-1)/8) and at most 2^(k/8)
// seconds.
const (
	schema    = 3
	perOctave = 1 << schema
	lowest    = -20 // octaves: about a microsecond; what is below is zero
	highest   = 20  // twelve days
	firstKey  = lowest*perOctave + 1
	lastKey   = highest * perOctave
)

// The classic buckets, for who scrapes text: each power of two between these.
const (
	lowestClassic  = -11 // half a millisecond
	highestClassic = 7   // two minutes
)

// bounds are the upper bounds of the buckets in an octave, as math.Frexp gives fractions: 2^(i/8)/2.
var bounds = func() (b [perOctave]float64) {
	for i := range b {
		b[i] = math.Exp2(float64(i)/perOctave) / 2
	}
	return b
}()

// histogram counts durations. That of client_golang makes each native bucket when it is first hit, and looks it up in a sync.Map from then on;
// here they are there from the beginning, 2.5 KiB, and two atomic additions are all that a request costs.
type histogram struct {
	zero    atomic.Uint64
	buckets [lastKey - firstKey + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	h.sum.Add(int64(d))
	if key := keyOf(d.Seconds()); key < firstKey {
		h.zero.Add(1)
	} else {
		h.buckets[min(key, lastKey)-firstKey].Add(1)
	}
}

// keyOf gives the bucket of v, as the specification of native histograms numbers them.
func keyOf(v float64) int {
	if v <= 0 {
		return math.MinInt
	}
	frac, exp := math.Frexp(v) // 0.5 ≤ frac < 1
	i := 0
	for i < perOctave && bounds[i] < frac {
		i++
	}
	return i + (exp-1)*perOctave
}

// sample is a histogram at a scrape.
type sample struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	count  uint64
	zero   uint64
	keys   []int // of the buckets that hold anything, and their numbers
	counts []uint64
	sum    float64
}

func (h *histogram) sample(desc *prometheus.Desc, labelValues ...string) *sample {
	s := &sample{desc: desc, labels: prometheus.MakeLabelPairs(desc, labelValues), zero: h.zero.Load(), sum: time.Duration(h.sum.Load()).Seconds()}
	s.count = s.zero
	for i := range h.buckets {
		if n := h.buckets[i].Load(); n > 0 {
			s.keys, s.counts = append(s.keys, firstKey+i), append(s.counts, n)
			s.count += n
		}
	}
	return s
}

func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write gives both kinds: the classic buckets, and the native ones, which only the protocol buffers of Prometheus carry.
func (s *sample) Write(m *dto.Metric) error {
	m.Label = s.labels
	m.Histogram = &dto.Histogram{
		SampleCount: &s.count, SampleSum: &s.sum, Bucket: s.classic(),
		Schema: new(int32(schema)), ZeroThreshold: new(math.Exp2(lowest)), ZeroCount: &s.zero,
	}
	m.Histogram.PositiveSpan, m.Histogram.PositiveDelta = s.native()
	return nil
}

func (s *sample) classic() (list []*dto.Bucket) {
	below, i := s.zero, 0
	for octave := lowestClassic; octave <= highestClassic; octave++ {
		for ; i < len(s.keys) && s.keys[i] <= octave*perOctave; i++ {
			below += s.counts[i]
		}
		list = append(list, &dto.Bucket{UpperBound: new(math.Exp2(float64(octave))), CumulativeCount: new(below)})
	}
	return list
}

// native gives the buckets as spans of neighbours, each count as its difference to the one before.
func (s *sample) native() (spans []*dto.BucketSpan, deltas []int64) {
	next, before := 0, uint64(0)
	for i, key := range s.keys {
		if i == 0 || key != next {
			spans = append(spans, &dto.BucketSpan{Offset: new(int32(key - next)), Length: new(uint32(0))})
		}
		*spans[len(spans)-1].Length++
		deltas = append(deltas, int64(s.counts[i]-before))
		next, before = key+1, s.counts[i]
	}
	return spans, slices.Clip(deltas)
}
