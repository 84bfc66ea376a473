package h2

import (
	"encoding/binary"
	"fmt"

	"edge/edge/wire"
)

// take takes all frames that are here in full.
func (c *ClientConn) take() error {
	for in := c.in.unread(); len(in) >= headLen; in = c.in.unread() {
		h := parseHead(in)
		if h.length > maxFrame {
			return errFrameSize
		}
		if len(in) < headLen+h.length {
			return nil
		}
		c.in.r += headLen + h.length
		if err := c.frame(h, in[headLen:headLen+h.length]); err != nil {
			return err
		}
		c.heard.Store(sweep.now())
	}
	return nil
}

// frame takes one frame.
func (c *ClientConn) frame(h head, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.settled && (h.kind != frameSettings || h.has(flagAck)):
		return broken("no SETTINGS first")
	case c.blockID != 0 && (h.kind != frameContinuation || h.stream != c.blockID):
		return broken("a header block that is not continued")
	}
	if h.kind == frameData || h.kind == frameHeaders { // gRPC's servers forgive PINGs as they send these, and nothing else
		c.mayPing = 0
	}
	switch h.kind {
	case frameData:
		return c.data(h, p)
	case frameHeaders:
		return c.headers(h, p)
	case frameContinuation:
		return c.continuation(h, p)
	case frameReset:
		return c.resetFrame(h, p)
	case frameSettings:
		return c.settings(h, p)
	case framePing:
		return c.ping(h, p)
	case frameGoAway:
		return c.goneAway(h, p)
	case frameWindow:
		return c.windowUpdate(h, p)
	case framePush:
		return broken("a push, which we have refused")
	case framePriority:
		switch {
		case h.stream == 0:
			return broken("PRIORITY of no stream")
		case len(p) != 5:
			return errFrameSize
		}
	}
	return c.pay(1) // RFC 9113 section 5.5: unknown frames are ignored
}

// pay takes from the credit for frames that ask for nothing. c.mu is held, as it is in all that takes frames.
func (c *ClientConn) pay(n int) error {
	if c.credit -= n; c.credit < 0 {
		return errCalm
	}
	return nil
}

// earn gives credit.
func (c *ClientConn) earn(n int) { c.credit = max(c.credit, min(c.credit+n, fullCredit)) }

// answerControl queues an answer to a frame of the server's, and has somebody else write it. A server that makes us answer and takes none of it
// is cut.
func (c *ClientConn) answerControl(before int) error {
	if c.control += len(c.out) - before; c.control > mostControl {
		return errCalm
	}
	c.flushAside()
	return nil
}

func (c *ClientConn) ping(h head, p []byte) error {
	switch {
	case h.stream != 0:
		return broken("PING of a stream")
	case len(p) != 8:
		return errFrameSize
	}
	if err := c.pay(1); err != nil || h.has(flagAck) {
		return err
	}
	before := len(c.out)
	c.out = append(appendHead(c.out, 8, framePing, flagAck, 0), p...)
	return c.answerControl(before)
}

func (c *ClientConn) settings(h head, p []byte) error {
	switch {
	case h.stream != 0:
		return broken("SETTINGS of a stream")
	case h.has(flagAck) && len(p) > 0, len(p)%6 != 0:
		return errFrameSize
	case h.has(flagAck):
		return c.pay(1)
	}
	if err := c.pay(1 + len(p)/6); err != nil {
		return err
	}
	initial := c.initial
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	if c.initial != initial {
		for _, s := range c.calls {
			if s.window += c.initial - initial; s.window > maxWindow {
				return errWindow
			}
		}
		c.wakeAll()
	}
	if !c.settled {
		c.settled = true
		c.reading.clear()
		close(c.ready)
	}
	before := len(c.out)
	c.out = appendHead(c.out, 0, frameSettings, flagAck, 0)
	return c.answerControl(before)
}

// setting heeds one setting.
func (c *ClientConn) setting(id uint16, v uint32) error {
	switch id {
	case settingPush:
		if v > 0 { // RFC 9113 section 6.5.2
			return broken("a server that lets us push")
		}
	case settingStreams:
		c.most = int(min(v, mostStreams))
	case settingInitialWindow:
		if v > maxWindow {
			return errWindow
		}
		c.initial = int64(v)
	case settingFrameSize:
		if v < maxFrame || v > 1<<24-1 {
			return broken("a frame size that is not allowed")
		}
	case settingHeaderListSize:
		c.list = int64(v)
	case settingTableSize:
		c.lowered = c.lowered || v < tableSize
	}
	return nil
}

func (c *ClientConn) windowUpdate(h head, p []byte) error {
	if len(p) != 4 {
		return errFrameSize
	}
	n := int64(binary.BigEndian.Uint32(p) & lastStream)
	if n < smallData || h.stream != 0 && c.calls[h.stream] == nil { // of others there can be so many as a window has room for
		if err := c.pay(1); err != nil {
			return err
		}
	}
	if h.stream == 0 {
		if n == 0 {
			return broken("a window that grows by nothing")
		}
		if c.window += n; c.window > maxWindow {
			return errWindow
		}
		c.wakeNext()
		return nil
	}
	s := c.calls[h.stream]
	switch {
	case s == nil && c.unopened(h.stream):
		return broken("WINDOW_UPDATE of a stream that is not open")
	case s == nil:
		return nil
	case n == 0:
		return c.cut(s, codeProtocol, broken("a window that grows by nothing"))
	}
	if s.window += n; s.window > maxWindow {
		return c.cut(s, codeFlow, errWindow)
	}
	if !s.queued { // in a line it waits for its turn
		signal(s.room)
	}
	return nil
}

// unopened says whether we have never opened a stream.
func (c *ClientConn) unopened(id uint32) bool { return id%2 == 0 || id >= c.next }

// Cancel is a ResetError's code where the server gives the exchange up, as where its time is over.
const Cancel = uint32(codeCancel)

// ResetError is a stream that the server has reset.
type ResetError struct{ Code uint32 }

func (e *ResetError) Error() string {
	return fmt.Sprintf("h2: the server has reset the stream, with the code %d", e.Code)
}

// UnservedError is a request that the server says it has not executed, and never will: it may be sent again, whatever it asks for.
type UnservedError struct{ Err error }

func (e *UnservedError) Error() string { return "h2: the request was not executed: " + e.Err.Error() }
func (e *UnservedError) Unwrap() error { return e.Err }

func (c *ClientConn) resetFrame(h head, p []byte) error {
	switch {
	case h.stream == 0 || c.unopened(h.stream):
		return broken("RST_STREAM of a stream that is not open")
	case len(p) != 4:
		return errFrameSize
	}
	s := c.calls[h.stream]
	if s == nil {
		return c.pay(1)
	}
	why := code(binary.BigEndian.Uint32(p))
	s.over = true
	c.forget(s)
	switch {
	case s.closed: // all of the answer is here, and no more of the request is wanted: RFC 9113 section 8.1
		signal(s.room)
	case why == codeRefused && !s.answered:
		s.end(&UnservedError{&ResetError{uint32(why)}})
	default:
		s.end(&ResetError{uint32(why)})
	}
	c.wakes(s)
	return nil
}

// goneAway takes GOAWAY: what was not executed is told so, all else may come to its end.
func (c *ClientConn) goneAway(h head, p []byte) error {
	switch {
	case h.stream != 0:
		return broken("GOAWAY of a stream")
	case len(p) < 8:
		return errFrameSize
	}
	if err := c.pay(1); err != nil {
		return err
	}
	last := binary.BigEndian.Uint32(p) & lastStream
	c.away = true
	for id, s := range c.calls {
		if id > last && !s.closed {
			s.over = true
			c.forget(s)
			if s.answered {
				s.end(errGoAway)
			} else {
				s.end(&UnservedError{errGoAway})
			}
			c.wakes(s)
		}
	}
	if c.open == 0 {
		c.finish()
	}
	return nil
}

// headers begins a header block.
func (c *ClientConn) headers(h head, p []byte) error {
	if h.stream == 0 || c.unopened(h.stream) {
		return broken("HEADERS of a stream that is not open")
	}
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	if h.has(flagPriority) {
		if len(p) < 5 {
			return errFrameSize
		}
		p = p[5:]
	}
	c.blockID, c.ends, c.size = h.stream, h.has(flagEndStream), 0
	c.block.reset()
	return c.fragment(h, p)
}

func (c *ClientConn) continuation(h head, p []byte) error {
	if c.blockID == 0 {
		return broken("CONTINUATION of nothing")
	}
	if len(p) < smallData && !h.has(flagEndHeaders) { // what waits is copied with each
		if err := c.pay(10); err != nil {
			return err
		}
	}
	return c.fragment(h, p)
}

// fragment decodes a piece of a header block.
func (c *ClientConn) fragment(h head, p []byte) error {
	if c.size += len(p); c.size > maxAnswerHead+maxFrame {
		return &connError{codeCalm, "a header block without end"}
	}
	if _, err := c.dec.Write(p); err != nil {
		return errCompression
	}
	if !h.has(flagEndHeaders) {
		if !c.reading.runs() {
			c.reading.set(c.limits.Response)
		}
		return nil
	}
	c.reading.clear()
	if err := c.dec.Close(); err != nil {
		return errCompression
	}
	s := c.calls[c.blockID]
	c.blockID = 0
	switch {
	case s == nil: // it was reset, and this was on its way; it is decoded for the table's sake
		return c.pay(1)
	case s.closed:
		return &connError{codeClosed, "HEADERS after the end of an answer"}
	case s.headed:
		return c.trailers(s)
	}
	return c.answerHead(s)
}

// answerHead takes an answer's head, or an interim one.
func (c *ClientConn) answerHead(s *Call) error {
	if s.heads += c.block.size; s.heads > maxAnswerHead {
		c.block.no(errAnswerSize)
	}
	if err := c.block.head(c.ends, s.toHEAD); err != nil {
		return c.cut(s, codeProtocol, err)
	}
	s.answered = true
	c.wakes(s)
	if c.block.status < 200 {
		s.interim = append(s.interim, interim{c.block.status, c.block.fields().Clone()})
		return c.pay(2)
	}
	s.head, c.block = c.block, s.head
	s.headed, s.ends, c.carried = true, c.ends, true
	s.length, s.bodiless = s.head.length, s.head.bodiless(s.toHEAD)
	s.reading.clear()
	if s.sending.runs() { // a server that has begun to answer may take its time for the rest of the request
		s.sending.set(c.limits.Body)
	}
	if c.ends {
		s.closed = true
	}
	c.earn(4)
	return nil
}

// trailers end an answer's body.
func (c *ClientConn) trailers(s *Call) error {
	if err := c.block.trailers(c.ends); err != nil {
		return c.cut(s, codeProtocol, err)
	}
	s.tail, c.block = c.block, s.tail
	return c.endAnswer(s)
}

// endAnswer ends an answer's body well, unless it is shorter than was said.
func (c *ClientConn) endAnswer(s *Call) error {
	if !s.bodiless && s.length != wire.Unknown && s.came != s.length {
		return c.cut(s, codeProtocol, errAnswerLength)
	}
	s.closed = true
	c.wakes(s)
	return nil
}

// data takes of an answer's body.
func (c *ClientConn) data(h head, p []byte) error {
	size := len(p)
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	if err := c.received(size); err != nil {
		return err
	}
	s := c.calls[h.stream]
	switch {
	case h.stream == 0 || c.unopened(h.stream):
		return broken("DATA of a stream that is not open")
	case s == nil: // some is on its way when a stream is reset: what the window of that had left
		if c.dead -= size; c.dead < 0 {
			return errCalm
		}
		if len(p) == 0 {
			return c.pay(1)
		}
		return nil
	case s.closed:
		return &connError{codeClosed, "DATA after the end of an answer"}
	case !s.headed:
		return c.cut(s, codeProtocol, errAnswerHead)
	}
	if len(p) == 0 && !h.has(flagEndStream) {
		if err := c.pay(10); err != nil {
			return err
		}
	}
	if s.left -= size; s.left < 0 {
		return c.cut(s, codeFlow, errWindow)
	}
	s.came += int64(len(p))
	if s.bodiless && len(p) > 0 || !s.bodiless && s.length != wire.Unknown && s.came > s.length {
		return c.cut(s, codeProtocol, errAnswerLength)
	}
	if len(p) > 0 {
		s.held = append(s.held, p...)
		c.wakes(s)
	}
	if h.has(flagEndStream) {
		return c.endAnswer(s)
	}
	if s.used += size - len(p); s.giveBack() {
		c.flushAside()
	}
	return nil
}

// received gives the connection's window back at once: the streams' windows are what bounds bodies.
func (c *ClientConn) received(n int) error {
	if c.room -= n; c.room < 0 {
		return errWindow
	}
	if c.room > clientWindow/2 {
		return nil
	}
	grow := clientWindow - c.room
	c.room = clientWindow
	before := len(c.out)
	c.out = appendWindow(c.out, 0, grow)
	return c.answerControl(before)
}
