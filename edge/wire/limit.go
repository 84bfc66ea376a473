package wire

import "errors"

// ErrTooLarge is what a limited body's Read fails with.
var ErrTooLarge = errors.New("the request's body is larger than allowed")

// Limit gives b, whose Read fails with ErrTooLarge once there are more than max bytes.
func Limit(b Body, max int64) Body { return &limited{b, max} }

type limited struct {
	Body
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Body.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}
