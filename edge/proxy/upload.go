package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"

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

	mu   sync.Mutex // held while the body is read
	read bool       // some of the body may be gone
	err  error      // for every Read from now on; errJoined: none of the body's own
}

func newUpload(body wire.Body) *upload {
	return &upload{body: body, trailer: http.Header{}, closed: make(chan struct{})}
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return 0, u.err
	}
	u.read = true
	n, err := u.body.Read(p)
	u.err = err
	if err == io.EOF {
		u.body.Trailers().DelFunc(claim).AddTo(u.trailer)
	}
	return n, err
}

// failure gives what the body's own Read failed with, and whether any of it was read.
func (u *upload) failure() (err error, read bool) {
	if u == nil {
		return nil, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err, u.read
}

// Close is how the transport says that it needs no more. A Read may still wait then.
func (u *upload) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

// join waits until the transport has done with the body. The exchange must have been finished or aborted, which ends a Read that waits.
func (u *upload) join() {
	if u == nil {
		return
	}
	<-u.closed
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = errJoined
}
