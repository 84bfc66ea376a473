package upstream

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// lookUp looks a few targets up, and gives what was logged.
func lookUp(ctx context.Context, targets ...string) string {
	logged := new(notes)
	set, _ := Draft([]*conf.Upstream{spec(targets...)}, nil, logged.logger())
	set.LookUp(ctx)
	return logged.take()
}

// Only names are looked up, and only those that have no address are told of.
func TestLookUp(t *testing.T) {
	log := lookUp(t.Context(), "http://none.invalid:1", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "unix:///run/none.invalid:1", "tcp://other.invalid:2")
	for _, target := range []string{"none.invalid:1", "other.invalid:2"} {
		if !strings.Contains(log, `level=WARN msg="target has no address" upstream=up target=`+target+` error="lookup `) {
			t.Errorf("no word of %s in %q", target, log)
		}
	}
	if n := strings.Count(log, "\n"); n != 2 {
		t.Errorf("%d lines: %q", n, log)
	}
}

// A resolver that does not answer holds nothing up: at the end of the time each target is told of, at the end of the process none.
func TestLookUpEnds(t *testing.T) {
	was := net.DefaultResolver
	defer func() { net.DefaultResolver = was }()
	asked := make(chan struct{}, 100)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	log := lookUp(ctx, "http://a.invalid:1", "http://b.invalid:1", "http://c.invalid:1")
	if n := strings.Count(log, "no address"); n != 3 || time.Since(begin) > patience/2 {
		t.Errorf("after %v: %q", time.Since(begin), log)
	}
	for len(asked) > 0 {
		<-asked
	}
	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if log := lookUp(ctx, "http://a.invalid:1"); log != "" {
		t.Errorf("at the end: %q", log)
	}
}
