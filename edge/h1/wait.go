package h1

import "edge/edge/socket"

// rest waits for requests, and serves those that come in one piece. It ends when there is one that does not, or nothing more is to come.
// Nothing is held of a buffer meanwhile: most connections rest, most of the time.
func (c *conn) rest() {
	c.lie()
	for c.nc.Socket().Wait(c.step) != nil {
		c.rests.Store(awake)
		c.reading.clear()
		if !sweep.hasLeft(c) {
			c.over = true
			return
		}
	}
}

// whileHere serves the requests that are here in full; none of its reads waits, so that none is in vain. It says whether it is not to be called
// again when more has come.
func (c *conn) whileHere() bool {
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
		}
		if !c.takeWhole() {
			break
		}
		c.over = !c.one()
	}
	return true
}

// takeWhole takes a head that is here, and says whether its request can be served without another read. A head that is none is the end.
func (c *conn) takeWhole() bool {
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
func (c *conn) bodyHere() bool {
	r := &c.req
	return !r.chunked && r.length <= int64(c.in.len()) && r.upgrade == nil
}

// lie begins a rest.
func (c *conn) lie() {
	c.in.release()
	c.o.Waits(true)
	if c.served {
		c.reading.set(c.o.Idle)
	} else {
		c.reading.set(c.o.Header) // a client that has just come wants something
	}
	c.rests.Store(sweep.ticks.Load())
}

// rouse ends a rest, and says whether there may be something to read.
func (c *conn) rouse() bool {
	c.rests.Store(awake)
	return c.reading.clear() || sweep.hasLeft(c)
}

// awake is a connection that does not rest.
const awake = -1
