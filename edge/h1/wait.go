package h1

import (
	"os"

	"golang.org/x/sys/unix"
)

// await waits until there is a byte to read, without a buffer: most connections wait, most of the time.
func (c *conn) await() error {
	if c.in.len() > 0 {
		return nil
	}
	c.in.release()
	c.o.Waits(true)
	defer c.o.Waits(false)
	if c.served {
		c.reading.set(c.o.Idle)
	} else {
		c.reading.set(c.o.Header) // a client that has just come wants something
	}
	err := c.wait()
	if !c.reading.clear() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	return err
}

// wait gets the first bytes. Where nothing lies above the socket it sleeps on that, then reads; above TLS it reads one byte, and the rest
// of the record comes without another system call.
func (c *conn) wait() error {
	if c.plain != nil {
		c.asked = false
		if err := c.plain.Read(c.ready); err != nil {
			return err
		}
		return c.fill()
	}
	n, err := c.nc.Read(c.first[:])
	if n == 0 {
		return err
	}
	c.in.room()[0] = c.first[0]
	c.in.w++
	return nil
}

// readyNow says to the runtime's poller whether there is something to read. The first call comes before it sleeps, and asks the kernel: what
// came earlier would wake nobody. The second one comes because something came.
func (c *conn) readyNow(fd uintptr) bool {
	if c.asked {
		return true
	}
	c.asked = true
	c.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	n, err := unix.Poll(c.poll[:], 0)
	return n != 0 || err != nil
}
