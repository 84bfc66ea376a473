// Package stack makes room on a goroutine's stack ahead of time. A new goroutine has two kilobytes, and each time that they do not suffice all that
// stands on its stack is looked through and copied to one twice as large. Who knows that there will be need of more asks while nothing stands there.
package stack

// Grow8K makes the stack of a goroutine that has just begun one of 8 KiB.
//
//go:noinline
func Grow8K(never bool) {
	if never {
		var room [6 << 10]byte
		touch(room[:])
	}
}

// Grow16K makes the stack of a goroutine that has just begun one of 16 KiB.
//
//go:noinline
func Grow16K(never bool) {
	if never {
		var room [12 << 10]byte
		touch(room[:])
	}
}

// touch keeps the compiler from leaving the room out.
//
//go:noinline
func touch(room []byte) { room[0] = 1 }
