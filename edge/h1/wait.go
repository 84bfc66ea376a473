package h1

import "edge/edge/socket"

// rest waits for requests, and serves those that come in one piece. It ends when there is one that does not, or nothing more is to come, or,
// which it says, when it is a long one. Nothing is held of a buffer meanwhile: most connections rest, most of the time.
func (c *Conn) rest() (long bool) {
	c.lie()
	if c.nc.Socket().Wait(c.step) == nil {
		return false
	}
	c.rests.Store(awake)
	c.reading.clear()
	if long = sweep.wasNudged(c); long {
		c.slim()
	}
	c.over = !long
	return long
}

// slim gives back all that a connection that rests has no need of. What has come meanwhile is found by the next rest, which this one goes on in.
func (c *Conn) slim() {
	sweep.setWork(c, nil, true)
	if c.o.Slim != nil {
		c.o.Slim()
	}
	c.reading.at.Store(c.until)
}

// whileHere serves the requests that are here in full; none of its reads waits, so that none is in vain. It says whether it is not to be called
// again when more has come.
func (c *Conn) whileHere() bool {
	c.over = !c.rouse()
	for !c.over {
		if c.in.len() == 0 {
			err := c.fill()
			if err == socket.ErrDry {
				c.lie()
				return false
			}
			if c.over = err != nil; c.over {
				break
			}
			c.o.Waits(false)
			if c.work == nil {
				sweep.setWork(c, new(work), false)
			}
		}
		if !c.takeWhole() {
			break
		}
		c.over = !c.one()
	}
	return true
}

// takeWhole takes a head that is here, and says whether its request can be served without another read. A head that is none is the end.
func (c *Conn) takeWhole() bool {
	if !c.begins() {
		return false
	}
	text, err := c.takeHead()
	if text == nil && err == nil {
		return false
	}
	if c.over = c.isPrior(text, err); c.over {
		return false
	}
	c.over = !c.parse(text, err)
	return !c.over && c.bodyHere()
}

// bodyHere says whether the handler can be left to itself: there is nothing more to read for it, and no tunnel to become.
func (c *Conn) bodyHere() bool {
	r := &c.req
	return !r.chunked && r.length <= int64(c.in.len()) && r.upgrade == nil
}

// lie begins a rest, or goes on with a long one.
func (c *Conn) lie() {
	c.in.release()
	c.o.Waits(true)
	switch {
	case c.lean:
	case c.served:
		c.until = sweep.after(c.o.Idle)
	default:
		c.until = sweep.after(c.o.Header) // a client that has just come wants something
	}
	if at := c.reading.at.Load(); at != spent { // else the rest is over: its deadline stands
		c.reading.at.CompareAndSwap(at, c.until)
	}
	c.rests.Store(sweep.ticks.Load())
}

// rouse ends a rest, and says whether there may be something to read.
func (c *Conn) rouse() bool {
	c.rests.Store(awake)
	return c.reading.clear() || sweep.wasNudged(c)
}

// awake is a connection that does not rest.
const awake = -1
