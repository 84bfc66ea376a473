package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"edge/edge/wire"
)

var (
	errJoined = errors.New("the request is over")
	errLate   = fmt.Errorf("the upstream neither takes the request's body nor answers: %w", context.DeadlineExceeded)
)

// upload is a request's body on its way to one target. The transport reads it in a goroutine of its own, which may outlive RoundTrip
// and must not outlive Serve. The transport has no time for sending; so between two Reads a clock runs that ends the round trip.
type upload struct {
	body    wire.Body
	drops   func(name []byte) bool // of a trailer: it does not go upstream
	most    time.Duration          // between two Reads
	cancel  context.CancelCauseFunc
	trailer http.Header // the request's; filled at the body's end
	once    sync.Once
	closed  chan struct{}

	touched atomic.Bool           // some of the body may be gone
	whole   atomic.Bool           // all of it has come from the client
	failed  atomic.Pointer[error] // what a Read failed with

	over atomic.Bool // the round trip is, by an answer or by the clock

	reading sync.Mutex
	joined  bool
	clock   *time.Timer // nil before the first Read
}

func newUpload(body wire.Body, most time.Duration, drops func(name []byte) bool) *upload {
	return &upload{body: body, most: most, drops: drops, trailer: http.Header{}, closed: make(chan struct{})}
}

// carriedBy gives r with u as its body, and a context that ends with the clock, or with r's.
func (u *upload) carriedBy(r *http.Request) *http.Request {
	ctx, cancel := context.WithCancelCause(r.Context())
	u.cancel = cancel
	r = r.WithContext(ctx)
	r.Body = u
	if r.ContentLength == wire.Unknown {
		r.Trailer = u.trailer
	}
	return r
}

func (u *upload) Read(p []byte) (int, error) {
	u.reading.Lock()
	defer u.reading.Unlock()
	if u.joined {
		return 0, errJoined
	}
	u.touched.Store(true)
	if u.clock != nil {
		u.clock.Stop()
	}
	n, err := u.body.Read(p)
	u.startClock()
	switch {
	case err == io.EOF:
		u.whole.Store(true)
		u.body.Trailers().DelFunc(u.drops).AddTo(u.trailer)
	case err != nil:
		u.failed.Store(&err)
	}
	return n, err
}

// startClock gives the target its time for what it is sent now.
func (u *upload) startClock() {
	if u.clock != nil {
		u.clock.Reset(u.most)
		return
	}
	u.clock = time.AfterFunc(u.most, func() {
		if !u.over.Swap(true) {
			u.cancel(errLate)
		}
	})
}

// late stops the clock's power over a round trip that has returned, and says whether it was used.
func (u *upload) late() bool { return u != nil && u.over.Swap(true) }

// Close is how the transport says that it needs no more. A Read may still wait then.
func (u *upload) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

// failure gives what the body itself failed with.
func (u *upload) failure() error {
	if u == nil || u.failed.Load() == nil {
		return nil
	}
	return *u.failed.Load()
}

// blames says whether a round trip that failed tells something of the target, as relaying.blames does.
func (u *upload) blames(err error) bool { return u == nil || u.whole.Load() || errors.Is(err, errLate) }

// join waits until the transport has done with the body. The exchange must have been finished or aborted: that ends a Read that waits.
func (u *upload) join() {
	if u == nil {
		return
	}
	<-u.closed
	u.reading.Lock()
	defer u.reading.Unlock()
	u.joined = true
	if u.clock != nil {
		u.clock.Stop()
	}
}
