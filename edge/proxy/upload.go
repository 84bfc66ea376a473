package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"edge/edge/wire"
)

var errJoined = errors.New("the request is over")

// upload is a request's body on its way to one target. The transport reads it in a goroutine of its own, which may outlive RoundTrip
// and must not outlive Serve.
type upload struct {
	body    wire.Body
	trailer http.Header // the request's; filled at the body's end
	once    sync.Once
	closed  chan struct{}

	touched atomic.Bool           // some of the body may be gone
	failed  atomic.Pointer[error] // what a Read failed with

	reading sync.Mutex
	joined  bool
}

func newUpload(body wire.Body) *upload {
	return &upload{body: body, trailer: http.Header{}, closed: make(chan struct{})}
}

func (u *upload) Read(p []byte) (int, error) {
	u.reading.Lock()
	defer u.reading.Unlock()
	if u.joined {
		return 0, errJoined
	}
	u.touched.Store(true)
	n, err := u.body.Read(p)
	switch {
	case err == io.EOF:
		u.body.Trailers().DelFunc(claim).AddTo(u.trailer)
	case err != nil:
		u.failed.Store(&err)
	}
	return n, err
}

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

// join waits until the transport has done with the body. The exchange must have been finished or aborted: that ends a Read that waits.
func (u *upload) join() {
	if u == nil {
		return
	}
	<-u.closed
	u.reading.Lock()
	defer u.reading.Unlock()
	u.joined = true
}
