package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	fairSamples = 150
	fairWait    = time.Second // what 99 of 100 small requests may take more beside large ones, here and now: it is 10 ms, on a narrow line 110
	fairStreams = 240         // of one connection, which may have 250
)

// A connection that takes all it can get does not keep others waiting, nor the small answers of its own: be it downloads that do not end, or
// hundreds of streams on each of four connections.
func TestFairness(t *testing.T) {
	if raced {
		t.Skip("the race detector takes its own time")
	}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 64<<10)
		if r.URL.Path == "/small" {
			w.Write(chunk[:1024])
			return
		}
		for err := error(nil); err == nil; {
			_, err = w.Write(chunk)
		}
	}))
	defer up.Close()
	p := startIn(t, t.TempDir(), "edge", strings.NewReplacer("UP", up.Listener.Addr().String()).Replace(relaySite))
	url := "https://" + p.addr("https")
	kinds := map[string]bool{"HTTP/1.1": false, "HTTP/2": true}
	alone := map[string]time.Duration{}
	for kind, h2 := range kinds {
		alone[kind] = p99(t, only(t, h2, 0), url)
	}
	for name, load := range map[string]struct {
		conns, streams int
		h2             bool
		pause          time.Duration // of a reader after each piece
		narrow         bool          // the client's line
	}{
		"one download, HTTP/1.1": {1, 1, false, 0, false},
		"downloads, HTTP/2":      {1, 16, true, 0, true},
		"many streams":           {4, fairStreams, true, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			var busy *http.Client
			var loads sync.WaitGroup
			defer loads.Wait()
			defer stop()
			begun := make(chan struct{}, load.conns*load.streams)
			for range load.conns {
				window := 4 << 20
				if load.pause > 0 {
					window = 128 << 10 // or hundreds of streams would fill the memory
				}
				busy = only(t, load.h2, window)
				if load.narrow {
					busy.Transport.(*http.Transport).DialContext = dialNarrow
				}
				for range load.streams {
					loads.Go(func() { download(ctx, t, busy, url, load.pause, begun) })
				}
			}
			for range cap(begun) {
				<-begun
			}
			for kind, h2 := range kinds {
				if took := p99(t, only(t, h2, 0), url); took > alone[kind]+fairWait {
					t.Errorf("another connection, %s: %v, without the load %v", kind, took, alone[kind])
				} else {
					t.Logf("another connection, %s: %v, without the load %v", kind, took, alone[kind])
				}
			}
			if load.h2 {
				if took := p99(t, busy, url); took > alone["HTTP/2"]+fairWait {
					t.Errorf("the same connection: %v", took)
				} else {
					t.Logf("the same connection: %v", took)
				}
			}
		})
	}
}

// only gives a client of one connection. window is what it takes of a stream of HTTP/2 at a time, in bytes; 0: as ever.
func only(t *testing.T, h2 bool, window int) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "app.localhost"}, MaxConnsPerHost: 1, Protocols: new(http.Protocols)}
	tr.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: window}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: soon}
}

// dialNarrow gives a connection that takes 16 MB/s at most, and on which little is on its way: what waits does so in edge.
func dialNarrow(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10) })
	}}
	c, err := d.DialContext(ctx, network, addr)
	return narrow{c}, err
}

type narrow struct{ net.Conn }

func (n narrow) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return n.Conn.Read(p[:min(len(p), 16<<10)])
}

// fetchFair asks for a path of relaySite's host.
func fetchFair(ctx context.Context, c *http.Client, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Host = "app.localhost"
	resp, err := c.Do(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = errors.New(resp.Status)
	}
	return resp, err
}

// download reads what does not end until ctx does, and says when it begins.
func download(ctx context.Context, t *testing.T, c *http.Client, url string, pause time.Duration, begun chan<- struct{}) {
	resp, err := fetchFair(ctx, c, url+"/large")
	begun <- struct{}{}
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	defer resp.Body.Close()
	piece := make([]byte, 64<<10)
	for err == nil && ctx.Err() == nil {
		_, err = io.ReadFull(resp.Body, piece)
		time.Sleep(pause) // a client that is in no hurry
	}
}

// p99 is how long 99 of 100 small requests take at most, one after the other.
func p99(t *testing.T, c *http.Client, url string) time.Duration {
	t.Helper()
	var took []time.Duration
	for range fairSamples {
		begin := time.Now()
		resp, err := fetchFair(t.Context(), c, url+"/small")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}
