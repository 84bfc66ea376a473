//go:build race

package socket

import "syscall"

// The race detector takes what is written before it is read, from whatever descriptor, for what happens before; syscall tells it so.

func read(fd int, p []byte) (int, syscall.Errno)  { return call(syscall.Read, fd, p) }
func write(fd int, p []byte) (int, syscall.Errno) { return call(syscall.Write, fd, p) }

func call(do func(fd int, p []byte) (int, error), fd int, p []byte) (int, syscall.Errno) {
	for {
		n, err := do(fd, p)
		switch err {
		case nil:
			return n, 0
		case syscall.EINTR:
		default:
			return 0, err.(syscall.Errno)
		}
	}
}
