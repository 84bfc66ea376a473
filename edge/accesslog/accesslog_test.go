package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"edge/edge/record"
)

func TestLine(t *testing.T) {
	start := time.Date(2026, 11, 23, 6, 0, 0, 5e6, time.UTC)
	r := &record.Record{
		Start: start, Listener: "https", Client: netip.MustParseAddrPort("[::1]:5"), Proto: "HTTP/1.1", TLS: 0x304,
		Method: []byte("GET"), Host: []byte("a.test"), Path: []byte("/\"\\\x01\xffé\x7f€"), Status: 200, BytesOut: 3, Event: record.TunnelEnded, Reason: "idle", Err: errors.New("why"),
	}
	line := appendLine(nil, r, start.Add(1500*time.Microsecond))
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	want := map[string]any{
		"time": "2026-11-23T06:00:00.005Z", "event": "tunnel ended", "listener": "https", "client": "[::1]:5", "proto": "HTTP/1.1",
		"tls": "TLS 1.3", "method": "GET", "host": "a.test", "path": "/\"\\\x01\ufffdé\x7f€", "status": 200.0, "in": 0.0, "out": 3.0,
		"us": 1500.0, "reason": "idle", "error": "why",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

// Lines written while the file is rotated are in one of the two files, each whole.
func TestReopenLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 500
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				l.Write(&record.Record{Event: record.Request, Start: time.Now()})
			}
		})
	}
	if err := errors.Join(os.Rename(path, path+".1"), l.Reopen()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(path + ".1")
	lines := bytes.Split(bytes.TrimSuffix(append(b, a...), []byte("\n")), []byte("\n"))
	if len(lines) != writers*each || l.Lost() != 0 {
		t.Errorf("%d lines and %d lost, want %d", len(lines), l.Lost(), writers*each)
	}
	for _, line := range lines {
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
	}
	l.Write(&record.Record{})
	if l.Lost() != 1 {
		t.Error("a line after Close is not counted as lost")
	}
}
