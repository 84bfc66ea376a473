package proxy

import (
	"io"
	"sync"
	"sync/atomic"
)

// upload is a request's body on its way up. The transport reads it in a goroutine of its own, which may outlive RoundTrip and must
// not outlive Serve.
type upload struct {
	io.Reader
	used   bool
	read   atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func newUpload(r io.Reader) *upload { return &upload{Reader: r, closed: make(chan struct{})} }

func (u *upload) Read(p []byte) (int, error) {
	u.read.Store(true)
	return u.Reader.Read(p)
}

// Close is how the transport says that it will read no more.
func (u *upload) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

// touched says whether some of the body is gone.
func (u *upload) touched() bool { return u.read.Load() }

// join waits until the transport has done with the body.
func (u *upload) join() {
	if u.used {
		<-u.closed
	}
}
