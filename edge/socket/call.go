//go:build !race

package socket

import (
	"syscall"
	"unsafe"
)

func read(fd int, p []byte) (int, syscall.Errno)  { return call(syscall.SYS_READ, fd, p) }
func write(fd int, p []byte) (int, syscall.Errno) { return call(syscall.SYS_WRITE, fd, p) }

// call reads or writes without a word to the scheduler: fd must not block.
func call(number uintptr, fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch err {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
