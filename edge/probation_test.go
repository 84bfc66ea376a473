package edge

import (
	"strings"
	"testing"

	"edge/edge/record"
	"edge/reload/upgrade"
)

// When a new process is taken back for what it did in its probation (R19): only for much more than the old one did.
func TestWorseThan(t *testing.T) {
	for _, test := range []struct {
		name        string
		before, now upgrade.Health
		want        string
	}{
		{"nothing happened", upgrade.Health{}, upgrade.Health{}, ""},
		{"all is well", upgrade.Health{Requests: 1000}, upgrade.Health{Requests: 1000}, ""},
		{"two panics", upgrade.Health{Requests: 1000}, upgrade.Health{Requests: 2, Failed: 2, Panics: 2}, ""},
		{"three panics", upgrade.Health{Requests: 1000}, upgrade.Health{Requests: 9000, Failed: 3, Panics: 3}, "panicked 3 times in 9000 requests, the old one 0 times in 1000"},
		{"panics outside requests", upgrade.Health{}, upgrade.Health{Panics: 3}, "panicked 3 times in 0"},
		{"panics as before", upgrade.Health{Requests: 1000, Panics: 100}, upgrade.Health{Requests: 10, Panics: 10}, ""},
		{"panics more than before", upgrade.Health{Requests: 1000, Panics: 99}, upgrade.Health{Requests: 10, Panics: 10}, "panicked"},
		{"nine failed", upgrade.Health{Requests: 1000}, upgrade.Health{Requests: 9, Failed: 9}, ""},
		{"ten failed", upgrade.Health{Requests: 1000}, upgrade.Health{Requests: 100, Failed: 10}, "answered 10 of 100 requests with a 500 of its own, the old one 0 of 1000"},
		{"few of many failed", upgrade.Health{Requests: 1000}, upgrade.Health{Requests: 200, Failed: 19}, ""},
		{"failed as before", upgrade.Health{Requests: 1000, Failed: 50}, upgrade.Health{Requests: 100, Failed: 50}, ""},
		{"failed more than before", upgrade.Health{Requests: 1000, Failed: 49}, upgrade.Health{Requests: 100, Failed: 50}, "answered 50"},
	} {
		err := worseThan(test.before)(test.now)
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// Only a 500 that no upstream gave is ours.
func TestHealthNotes(t *testing.T) {
	for _, test := range []struct {
		record record.Record
		want   uint64
	}{
		{record.Record{Status: 500}, 1},
		{record.Record{Status: 500, Answered: 1}, 0},
		{record.Record{Status: 200}, 0},
		{record.Record{Status: 404}, 0},
		{record.Record{Status: 502, Asked: 1}, 0},
		{record.Record{Status: 503}, 0},
		{record.Record{Status: 504, Asked: 1}, 0},
	} {
		var h health
		h.note(&test.record)
		if got := h.failed.Load(); got != test.want {
			t.Errorf("%+v: %d failed, want %d", test.record, got, test.want)
		}
	}
}
