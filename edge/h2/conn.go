package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"edge/edge/record"
	"edge/edge/socket"
	"edge/edge/wire"
)

// Options are what a connection is served by.
type Options struct {
	Handler   wire.Handler
	Info      *wire.Conn
	MaxHeader int           // bytes of a request's head, as SETTINGS_MAX_HEADER_LIST_SIZE counts
	Streams   int           // requests at a time
	Header    time.Duration // for the preface, and for a whole head from its first frame
	Idle      time.Duration // without a request
	Last      func() bool   // asked once a second: is the connection to end as soon as it can without loss
	// Slim gives back what lies below and only a connection at work has need of; called by who reads. nil: who serves is not told of long rests.
	Slim func()
}

// Stream is a connection that frames are read from. It can be closed twice, and lingers when it is.
type Stream interface {
	wire.Stream
	Socket() *socket.Conn // below everything
}

// Conn is a client's connection. What it may cost at most, where a client does its worst: of bodies 1 MiB (recvWindow), which is enforced; of heads
// 4 MiB (mostHeads), of which one is no larger than MaxHeader; of answers twice mostOut, one head, and mostControl; goroutines of twice Options.Streams
// requests. One stream costs bodyWindow, a frame that is held back, and its head. One without requests keeps no buffer after a second.
type Conn struct {
	nc Stream
	o  Options

	// Of the reading goroutine alone.
	in       input
	step     func() bool // has whileHere take what is here
	ended    error       // what it said last
	hailed   bool        // our own greeting was sent
	greeted  bool        // the preface was read
	settled  bool        // the client's SETTINGS were
	dec      *hpack.Decoder
	head     *stream // whose header block is being read; nil: none is
	headID   uint32
	trailing bool        // it is trailers
	ends     bool        // nothing follows it
	block    int         // bytes of it
	req      request     // takes what it is decoded to
	partial  bool        // of a frame that is no body's the beginning is here
	fresh    []*stream   // heads are here, handlers not at work yet: a small body may come with the head
	reads    int         // since the first of them came
	newest   uint32      // the highest stream that the client opened
	broke    atomic.Bool // what is here is not to be read any more

	reading limit        // of the preface or a header block
	writing limit        // of one piece
	moved   limit        // of bodies: until when the next byte of any is to leave
	rests   atomic.Int64 // since which tick nothing has come, or awake
	lean    atomic.Bool  // nothing has come since slim

	mu        sync.Mutex
	streams   map[uint32]*stream
	working   int // handlers; some of streams that are gone
	finishing int // of them: their answers have been sent in full
	idle      []*worker
	heads     int           // bytes of their requests' heads
	left      chan struct{} // gets something when a handler has returned: for who reads
	idleAt    int64         // the sweeper's tick since which there has been no stream
	err       error         // the end: nothing is read or written any more
	out       []byte
	spare     []byte
	control   int           // bytes of out that answer the client's control frames
	busy      bool          // somebody writes
	quiet     chan struct{} // gets something when nobody does any more
	window    int64
	initial   int64               // of the client's streams
	queue     []*stream           // wait to send of their bodies; next says whose turn it is
	early     map[uint32]priority // of streams that are not open yet
	awake     []*stream           // send of their bodies, and do not wait
	full      []*stream           // wait for room in out only
	lowered   bool                // the client has made its table smaller, and no header block has said yet that ours is none
	room      int                 // bytes of bodies that the client may still send
	taken     int                 // what handlers have used of them, and the client was not told of
	resets    []uint32            // the last streams that we reset before the client's end: what is on its way of them is no mistake
	reset1    int                 // which of them is the oldest, when there are mostResets
	credit    int                 // frames that ask for nothing are paid from it
	nudged    bool                // the sweeper has ended a rest, because it is a long one
	ending    int                 // notEnding ...
	endAt     int64               // tick at which the last GOAWAY is due
	heard     uint32              // the highest stream whose head was here in full
	last      uint32              // as the last GOAWAY said
}

// The stages of an end without loss, RFC 9113 section 6.8.
const (
	notEnding   = iota
	announced   // a GOAWAY that names no last stream has been sent: what the client has opened meanwhile is served
	lastNamed   // the last GOAWAY: later streams are not
	streamsDone // and all earlier ones have ended
)

const (
	recvWindow = 1 << 20   // of bodies on all streams of a connection
	bodyWindow = 256 << 10 // on one
	tableSize  = 4 << 10   // of the dynamic table for requests, the default

	fullCredit = 2000 // what a connection may spend on frames that ask for nothing
	tickCredit = 200  // what comes back in a second

	mostControl = 64 << 10 // bytes of answers to control frames that a client has not taken

	mostResets = 64 // streams that we have reset, and know of

	mostHeads = 4 << 20 // bytes of the heads of all requests that handlers are at
	smallData = 1 << 10 // less in a frame is not worth the work, when it comes for nothing
	mostReads = 4       // after which handlers begin, though more is here
)

// New makes a connection of nc. Serve serves it.
func New(nc Stream, o Options) *Conn {
	c := &Conn{
		nc: nc, o: o, left: make(chan struct{}, 1),
		quiet:  make(chan struct{}, 1),
		window: firstWindow, initial: firstWindow, credit: fullCredit, room: recvWindow,
	}
	c.dec = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { c.req.field(f) })
	c.dec.SetMaxStringLength(o.MaxHeader + maxFrame) // more than a whole block may be
	c.out = c.greeting(nil)
	c.rests.Store(awake) // what the client has said already may lie above the socket
	return c
}

// greeting is our SETTINGS, which nothing may precede, not even a GOAWAY, and the connection's window, made larger.
func (c *Conn) greeting(b []byte) []byte {
	b = appendHead(b, 6*6, frameSettings, 0, 0)
	b = appendSetting(b, settingStreams, uint32(c.o.Streams))
	b = appendSetting(b, settingInitialWindow, bodyWindow)
	b = appendSetting(b, settingFrameSize, maxFrame)
	b = appendSetting(b, settingHeaderListSize, uint32(c.o.MaxHeader))
	b = appendSetting(b, settingConnect, 1)
	b = appendSetting(b, settingNoPriorities, 1)
	return appendWindow(b, 0, recvWindow-firstWindow)
}

// Serve serves the requests of the connection until it ends, and closes it. At its end it returns when no handler is at work any more. It says true
// where the connection has only rested for a while, if there is Options.Slim: then it is to be called again, on a new goroutine, whose stack is as
// small as a stack can be.
//
// Durations are counted by a sweeper that looks once a second, so they may be exceeded by two.
func (c *Conn) Serve() (rests bool) {
	err := errEnded
	defer func() { // also where what reads panics
		if rests {
			return
		}
		sweep.remove(c)
		c.fail(err)
		c.dispatch() // nothing but leaves: they have ended
		c.in.release()
		c.nc.Close()
		c.join()
	}()
	if !c.hailed {
		c.greet()
	}
	err = c.read()
	return err == errRests
}

// greet begins.
func (c *Conn) greet() {
	c.hailed = true
	c.reading.set(c.o.Header)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idleAt = sweep.now()
	sweep.add(c)
	c.flush()
}

// errRests is a connection on which nothing has come for a while.
var errRests = errors.New("h2: the connection rests")

// read reads frames until the end, or a long rest.
func (c *Conn) read() error {
	if c.step == nil {
		c.step = func() bool {
			c.ended = c.whileHere()
			return c.ended != nil
		}
	}
	for {
		waited := c.nc.Socket().Wait(c.step)
		if c.ended != nil || waited == nil || !c.slim() {
			return errors.Join(c.ended, waited)
		}
		if c.o.Slim != nil {
			return errRests
		}
	}
}

// slim gives back all that a connection that rests has no need of, if it is for that that it was woken. What has come meanwhile is found when it is
// served on.
func (c *Conn) slim() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nudged || c.broke.Load() || c.nc.SetReadDeadline(noDeadline) != nil {
		return false
	}
	c.nudged = false
	c.lean.Store(true)
	c.dismiss()
	if c.fresh = nil; c.head == nil {
		c.req = request{}
	}
	if len(c.streams) == 0 && c.working == 0 { // the handler of a stream that was reset may still stand in one of these
		c.streams, c.queue, c.full = nil, nil, nil
	}
	if len(c.out) == 0 && !c.busy {
		c.out, c.spare = nil, nil
	}
	if c.o.Slim != nil {
		c.o.Slim()
	}
	return true
}

// whileHere takes the frames that are here; none of its reads waits. An error is the end, also a good one.
func (c *Conn) whileHere() error {
	c.rests.Store(awake)
	for {
		n, err := c.nc.Read(c.in.room())
		if c.in.w += n; n > 0 {
			if c.lean.Load() {
				c.lean.Store(false)
			}
			if err := c.take(); err != nil {
				c.dispatch()
				return err
			}
			if c.broke.Load() { // a deadline alone is not heeded while there is something to read
				c.dispatch()
				return errEnded
			}
			if c.reads++; c.reads >= mostReads {
				c.dispatch()
			}
		}
		switch {
		case err == socket.ErrDry:
			c.dispatch()
			c.rest()
			c.rests.Store(sweep.now())
			return nil
		case err != nil:
			c.dispatch()
			return err
		}
	}
}

// rest is before a wait: nothing is held where nothing is on its way. What is has its time, of a body that of the body.
func (c *Conn) rest() {
	in := c.in.unread()
	switch {
	case len(in) == 0:
		c.in.release()
	case !c.settled || len(in) < headLen:
	case in[3] == frameData:
		c.mu.Lock()
		defer c.mu.Unlock()
		if s := c.streams[parseHead(in).stream]; s != nil && s.body.reading.runs() {
			s.body.reading.set(c.o.Info.Body)
		}
	case !c.reading.runs():
		c.reading.set(c.o.Header)
		c.partial = true
	}
}

// take takes all frames that are here in full.
func (c *Conn) take() error {
	if !c.greeted {
		if ok, err := c.begins(); !ok {
			return err
		}
	}
	for in := c.in.unread(); len(in) >= headLen; in = c.in.unread() {
		h := parseHead(in)
		if h.length > maxFrame {
			return errFrameSize
		}
		if len(in) < headLen+h.length {
			return nil
		}
		c.in.r += headLen + h.length
		if c.partial {
			c.partial = false
			c.reading.clear()
		}
		if err := c.frame(h, in[headLen:headLen+h.length]); err != nil {
			return err
		}
	}
	return nil
}

// begins reads the preface.
func (c *Conn) begins() (bool, error) {
	in := c.in.unread()
	n := min(len(in), len(preface))
	if string(in[:n]) != preface[:n] {
		return false, broken("no preface")
	}
	if n < len(preface) {
		return false, nil
	}
	c.in.r += n
	c.greeted = true
	return true, nil
}

// frame takes one frame.
func (c *Conn) frame(h head, p []byte) error {
	switch {
	case !c.settled && (h.kind != frameSettings || h.has(flagAck)):
		return broken("no SETTINGS first")
	case c.head != nil && (h.kind != frameContinuation || h.stream != c.headID):
		return broken("a header block that is not continued")
	}
	switch h.kind {
	case frameData:
		return c.data(h, p)
	case frameHeaders:
		return c.headers(h, p)
	case frameContinuation:
		return c.continuation(h, p)
	case frameReset:
		return c.reset(h, p)
	case frameSettings:
		return c.settings(h, p)
	case framePing:
		return c.ping(h, p)
	case frameWindow:
		return c.windowUpdate(h, p)
	case framePriority:
		return c.oldPriority(h, p)
	case frameUpdate:
		return c.reprioritize(h, p)
	case frameGoAway:
		switch {
		case h.stream != 0:
			return broken("GOAWAY of a stream")
		case len(p) < 8:
			return errFrameSize
		}
		return c.pay(1) // it opens no more streams; when it has what it wants it closes
	case framePush:
		return broken("a push by a client")
	}
	return c.pay(1) // RFC 9113 section 5.5: unknown frames are ignored
}

// pay takes from the credit for frames that ask for nothing.
func (c *Conn) pay(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credit -= n; c.credit < 0 {
		return errCalm
	}
	return nil
}

// oldPriority takes what RFC 9113 section 5.3 has made nothing of.
func (c *Conn) oldPriority(h head, p []byte) error {
	switch {
	case h.stream == 0:
		return broken("PRIORITY of no stream")
	case len(p) != 5:
		return c.refuse(h.stream, codeFrameSize)
	case binary.BigEndian.Uint32(p)&lastStream == h.stream:
		return c.refuse(h.stream, codeProtocol)
	}
	return c.pay(1)
}

// refuse resets a stream, which may not be open.
func (c *Conn) refuse(id uint32, why code) error {
	if err := c.pay(10); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		c.cut(s, why, broken("a malformed PRIORITY"))
		return nil
	}
	return c.answerControl(func(b []byte) []byte { return appendReset(b, id, why) })
}

// answerControl queues an answer to a frame of the client's, and has somebody else write it: who reads must not wait for a client that does not.
// A client that makes us answer and takes none of it is cut. c.mu is held.
func (c *Conn) answerControl(answer func([]byte) []byte) error {
	before := len(c.out)
	c.out = answer(c.out)
	if c.control += len(c.out) - before; c.control > mostControl {
		return errCalm
	}
	c.flushAside()
	return nil
}

func (c *Conn) ping(h head, p []byte) error {
	switch {
	case h.stream != 0:
		return broken("PING of a stream")
	case len(p) != 8:
		return errFrameSize
	case h.has(flagAck):
		if string(p) == drainPing {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.nameLast()
			return nil
		}
		return c.pay(1)
	}
	if err := c.pay(1); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answerControl(func(b []byte) []byte { return append(appendHead(b, 8, framePing, flagAck, 0), p...) })
}

func (c *Conn) settings(h head, p []byte) error {
	switch {
	case h.stream != 0:
		return broken("SETTINGS of a stream")
	case h.has(flagAck) && len(p) > 0, len(p)%6 != 0:
		return errFrameSize
	case h.has(flagAck):
		return c.pay(1)
	}
	if !c.settled {
		c.settled = true
		c.reading.clear()
	}
	if err := c.pay(1 + len(p)/6); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.wakeAll()
	return c.answerControl(func(b []byte) []byte { return appendHead(b, 0, frameSettings, flagAck, 0) })
}

// setting heeds one setting. c.mu is held.
func (c *Conn) setting(id uint16, v uint32) error {
	switch id {
	case settingPush, settingConnect, settingNoPriorities:
		if v > 1 {
			return broken("a setting that is neither 0 nor 1")
		}
	case settingInitialWindow:
		if v > maxWindow {
			return errWindow
		}
		for _, s := range c.streams {
			if s.window += int64(v) - c.initial; s.window > maxWindow {
				return errWindow
			}
		}
		c.initial = int64(v)
	case settingFrameSize:
		if v < maxFrame || v > 1<<24-1 {
			return broken("a frame size that is not allowed")
		}
	case settingTableSize:
		c.lowered = c.lowered || v < tableSize
	}
	return nil
}

func (c *Conn) windowUpdate(h head, p []byte) error {
	if len(p) != 4 {
		return errFrameSize
	}
	n := int64(binary.BigEndian.Uint32(p) & lastStream)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < smallData || h.stream != 0 && c.streams[h.stream] == nil { // of others there can be so many as a window has room for
		if c.credit--; c.credit < 0 {
			return errCalm
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
	s := c.streams[h.stream]
	switch {
	case s == nil && c.unopened(h.stream):
		return broken("WINDOW_UPDATE of a stream that is not open")
	case s == nil:
		return nil
	case n == 0:
		c.cut(s, codeProtocol, broken("a window that grows by nothing"))
		return nil
	}
	if s.window += n; s.window > maxWindow {
		c.cut(s, codeFlow, errWindow)
		return nil
	}
	if !s.queued { // in a line it waits for its turn
		s.wakeUp()
	}
	return nil
}

// unopened says whether the client has never opened a stream.
func (c *Conn) unopened(id uint32) bool { return id%2 == 0 || id > c.newest }

func (c *Conn) reset(h head, p []byte) error {
	switch {
	case h.stream == 0 || c.unopened(h.stream):
		return broken("RST_STREAM of a stream that is not open")
	case len(p) != 4:
		return errFrameSize
	}
	if err := c.pay(1); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[h.stream]; s != nil {
		c.lose(s, errReset)
	}
	return nil
}

// headers begins a request, or its trailers.
func (c *Conn) headers(h head, p []byte) error {
	if h.stream%2 == 0 {
		return broken("a request on a stream that is not a client's")
	}
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	self := false
	if h.has(flagPriority) {
		if len(p) < 5 {
			return errFrameSize
		}
		self = binary.BigEndian.Uint32(p)&lastStream == h.stream
		p = p[5:]
	}
	if err := c.beginBlock(h); err != nil {
		return err
	}
	if self {
		c.req.no(&refusal{0, "a stream that depends on itself"})
	}
	c.ends, c.block = h.has(flagEndStream), 0
	return c.fragment(h, p)
}

// beginBlock finds out whose head it is that begins.
func (c *Conn) beginBlock(h head) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.req.reset(c.o.MaxHeader)
	if s := c.streams[h.stream]; s != nil {
		if s.closed {
			return &connError{codeClosed, "HEADERS after the end of a request"}
		}
		c.head, c.headID, c.trailing = s, h.stream, true
		return nil
	}
	if c.wasReset(h.stream) || c.dropped(h.stream) { // its trailers were on their way; they are decoded, for the table's sake
		if c.credit--; c.credit < 0 {
			return errCalm
		}
		c.head, c.headID, c.trailing = gone, h.stream, true
		return nil
	}
	if h.stream <= c.newest {
		return &connError{codeClosed, "HEADERS of a stream that has ended"}
	}
	c.newest = h.stream
	c.head, c.headID, c.trailing = newStream(c, h.stream), h.stream, false
	return nil
}

// gone stands for a stream that there is no more.
var gone = &stream{}

// wasReset says whether we have reset a stream not long ago, before the client's end. c.mu is held.
func (c *Conn) wasReset(id uint32) bool { return slices.Contains(c.resets, id) }

// dropped says whether a stream came after the last that a GOAWAY named, and so was never heard. c.mu is held.
func (c *Conn) dropped(id uint32) bool { return c.ending >= lastNamed && id > c.last && id <= c.newest }

// remember notes that we reset a stream before the client's end. c.mu is held.
func (c *Conn) remember(id uint32) {
	if len(c.resets) < mostResets {
		c.resets = append(c.resets, id)
		return
	}
	c.resets[c.reset1] = id
	c.reset1 = (c.reset1 + 1) % mostResets
}

func (c *Conn) continuation(h head, p []byte) error {
	if c.head == nil {
		return broken("CONTINUATION of nothing")
	}
	if len(p) < smallData && !h.has(flagEndHeaders) { // what waits is copied with each
		if err := c.pay(10); err != nil {
			return err
		}
	}
	return c.fragment(h, p)
}

// fragment decodes a piece of a header block. A block that goes on and on is more than a request that is too large: it is not decoded to its end.
func (c *Conn) fragment(h head, p []byte) error {
	if c.block += len(p); c.block > c.o.MaxHeader+maxFrame {
		return &connError{codeCalm, "a header block without end"}
	}
	if _, err := c.dec.Write(p); err != nil {
		return errCompression
	}
	if !h.has(flagEndHeaders) {
		if !c.reading.runs() {
			c.reading.set(c.o.Header)
		}
		return nil
	}
	c.reading.clear()
	if err := c.dec.Close(); err != nil {
		return errCompression
	}
	s := c.head
	c.head = nil
	if c.trailing {
		return c.trailers(s)
	}
	return c.request(s)
}

// trailers end a request's body.
func (c *Conn) trailers(s *stream) error {
	fields, no := c.req.trailers()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[c.headID] != s {
		return nil
	}
	if no == nil && (!c.ends || s.body.tunnels) { // RFC 9113 section 8.5: DATA is all that a tunnel has
		no = errTrailing
	}
	if no != nil {
		c.cut(s, codeProtocol, no)
		return nil
	}
	s.body.trailers = fields
	c.endBody(s)
	return nil
}

var errTrailing = &refusal{0, "HEADERS in the middle of a body"}

// request begins to serve a request whose head is complete.
func (c *Conn) request(s *stream) error {
	no := s.take(&c.req, c.ends)
	if no != nil && no.status == 0 {
		c.tellRefused(no, s.x.Method)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		s.free()
		return c.err
	case c.credit < 0:
		s.free()
		return errCalm
	case c.ending >= lastNamed: // the client will send it again elsewhere
		s.free()
		return nil
	}
	c.heard = s.id
	c.letFinish()
	switch {
	case c.busyEnough(s):
		return c.decline(s, codeRefused, 1)
	case no != nil && no.status == 0:
		return c.decline(s, codeProtocol, 10)
	}
	s.no = no
	s.window = c.initial
	c.prioritize(s)
	s.body.begin(s, c.ends)
	s.closed = c.ends
	if c.streams == nil {
		c.streams = map[uint32]*stream{}
	}
	c.streams[s.id] = s
	c.working++
	c.heads += s.cost
	c.fresh = append(c.fresh, s)
	return nil
}

// letFinish waits where handlers whose answers the client has in full are many: it may be quicker than what they do afterwards, as to write the
// log. They wait for nothing that is still to be read. c.mu is held, but not while it waits.
func (c *Conn) letFinish() {
	for c.finishing >= c.o.Streams {
		c.mu.Unlock()
		<-c.left
		c.mu.Lock()
	}
}

// complete is a stream of which both sides have said all. Its handler has yet to return. c.mu is held.
func (c *Conn) complete(s *stream) {
	s.complete = true
	c.finishing++
	c.forget(s)
}

// busyEnough says whether one request more is too much. The handlers of streams that were reset count as well. c.mu is held.
func (c *Conn) busyEnough(s *stream) bool {
	return len(c.streams) >= c.o.Streams || c.working-c.finishing >= 2*c.o.Streams || c.working > 0 && c.heads+s.cost > mostHeads
}

// decline resets a stream that no handler gets. c.mu is held.
func (c *Conn) decline(s *stream, why code, price int) error {
	s.free()
	if c.credit -= price; c.credit < 0 {
		return errCalm
	}
	if !c.ends {
		c.remember(c.headID)
	}
	return c.answerControl(func(b []byte) []byte { return appendReset(b, c.headID, why) })
}

// tellRefused tells of what was no request. Its method may be missing, or of any kind.
func (c *Conn) tellRefused(no *refusal, method []byte) {
	told := c.o.Info.Refused
	if told == nil {
		return
	}
	r := &record.Record{Start: time.Now(), Listener: c.o.Info.Listener, Client: c.o.Info.Remote, Proto: proto, Method: method, Status: no.status, Err: no}
	if c.o.Info.TLS != nil {
		r.TLS = c.o.Info.TLS.Version
	}
	told(r)
}

// dispatch has the handlers of new requests begin, but for those that the client has taken back already.
func (c *Conn) dispatch() {
	if c.reads = 0; len(c.fresh) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.fresh {
		c.fresh[i] = nil
		if s.body.err == io.EOF && s.x.Length == wire.Unknown && len(s.body.trailers) == 0 {
			s.x.Length = s.body.came // all of it is here: an ordinary small body
		}
		if s.ended != nil {
			c.leave(s)
			continue
		}
		c.begin(s)
	}
	c.fresh = c.fresh[:0]
}

// leave is the end of a request for the connection: what it held is given back. c.mu is held.
func (c *Conn) leave(s *stream) {
	s.ended = errEnded
	c.used(len(s.body.held) - s.body.r)
	s.body.r = len(s.body.held)
	c.heads -= s.cost
	c.wakeNext()
	if s.complete {
		c.finishing--
	}
	s.free()
	c.working--
	signal(c.left)
}

// data takes of a request's body.
func (c *Conn) data(h head, p []byte) error {
	size := len(p)
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room -= size; c.room < 0 {
		return errWindow
	}
	s := c.streams[h.stream]
	if s == nil || s.closed {
		return c.strayData(h, s, size)
	}
	if len(p) == 0 && !h.has(flagEndStream) {
		if c.credit -= 10; c.credit < 0 {
			return errCalm
		}
	}
	if s.body.room -= size; s.body.room < 0 {
		c.cut(s, codeFlow, errWindow)
		return c.used(size)
	}
	if err := c.keep(s, p, size-len(p)); err != nil {
		return err
	}
	if s.body.length >= 0 && s.body.came > s.body.length {
		c.cut(s, codeProtocol, errTooMuch)
		return nil
	}
	if h.has(flagEndStream) {
		c.endBody(s)
	}
	return nil
}

// keep keeps what came of a body for its reader, if it has one. c.mu is held.
func (c *Conn) keep(s *stream, p []byte, pad int) error {
	if s.body.err != nil {
		s.body.came += int64(len(p))
		return c.used(len(p) + pad)
	}
	s.body.take(p)
	return c.usedOf(s, pad)
}

// strayData is DATA of a stream that takes none: its bytes count for the connection all the same. c.mu is held.
func (c *Conn) strayData(h head, s *stream, size int) error {
	switch {
	case h.stream == 0 || s == nil && c.unopened(h.stream):
		return broken("DATA of a stream that is not open")
	case s != nil:
		c.cut(s, codeClosed, broken("DATA after the end of a request"))
	}
	if size < smallData { // some is on its way when a stream is reset; not for ever
		if c.credit--; c.credit < 0 {
			return errCalm
		}
	}
	if err := c.used(size); err != nil || s != nil || c.wasReset(h.stream) || c.dropped(h.stream) {
		return err
	}
	return c.answerControl(func(b []byte) []byte { return appendReset(b, h.stream, codeClosed) })
}

// endBody ends a request's body well, unless it is shorter than was said. c.mu is held.
func (c *Conn) endBody(s *stream) {
	if s.body.length >= 0 && s.body.came != s.body.length {
		c.cut(s, codeProtocol, errTooMuch)
		return
	}
	s.closed = true
	s.body.finish(io.EOF)
	if s.sent {
		c.complete(s)
	}
}

// used counts bytes of bodies as used, and tells the client when it is worth it. c.mu is held.
func (c *Conn) used(n int) error {
	if c.taken += n; c.taken == 0 || c.taken < recvWindow/2 && c.room > c.taken {
		return nil
	}
	grow := c.taken
	c.taken, c.room = 0, c.room+grow
	return c.answerControl(func(b []byte) []byte { return appendWindow(b, 0, grow) })
}

// usedOf is used, also for a stream that goes on. c.mu is held.
func (c *Conn) usedOf(s *stream, n int) error {
	if err := c.used(n); err != nil || s.closed || n == 0 {
		return err
	}
	if s.body.taken += n; s.body.taken < bodyWindow/2 {
		return nil
	}
	grow := s.body.taken
	s.body.taken = 0
	s.body.room += grow
	return c.answerControl(func(b []byte) []byte { return appendWindow(b, s.id, grow) })
}

// cut ends a stream by a reset. c.mu is held.
func (c *Conn) cut(s *stream, why code, err error) {
	if c.streams[s.id] != s {
		return
	}
	if !s.closed {
		c.remember(s.id)
	}
	c.credit -= 10 // request says when there is none left
	c.out = appendReset(c.out, s.id, why)
	c.flushAside()
	c.lose(s, err)
}

// lose ends a stream that ended otherwise than by its answer. Who waits for that is told, aside: it may run what others wrote. c.mu is held.
func (c *Conn) lose(s *stream, err error) {
	c.forget(s)
	if s.lost == nil { // before anybody wakes and asks
		s.lost = err
	}
	s.end(err)
	s.users++
	go func() {
		s.gone.tell(err)
		c.mu.Lock()
		defer c.mu.Unlock()
		s.free()
	}()
}

// forget takes a stream off the connection: its handler may still be at work. c.mu is held.
func (c *Conn) forget(s *stream) {
	delete(c.streams, s.id)
	if len(c.streams) == 0 {
		c.idleAt = sweep.now()
		c.endIfDone()
	}
}

// fail ends the connection: the client is told why, if it broke the rules, and whoever waits is woken.
func (c *Conn) fail(err error) {
	var ours *connError
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.As(err, &ours) && c.err == nil {
		slog.Debug("http/2", "listener", c.o.Info.Listener, "client", c.o.Info.Remote, "error", err)
		if c.ending < lastNamed {
			c.last = c.heard
		}
		c.out = appendGoAway(c.out, c.last, ours.code)
		c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		for c.flush(); c.busy; {
			c.mu.Unlock()
			<-c.quiet
			c.mu.Lock()
		}
	}
	if c.err == nil {
		c.err = errEnded
	}
	c.wakeAll()
	c.dismiss()
	for _, s := range c.streams {
		c.lose(s, errEnded)
	}
}

// errEnded is a connection that has ended, errReset a stream that the client does not want any more.
var (
	errEnded = errors.New("h2: the connection has ended")
	errReset = errors.New("h2: the client has reset the stream")
)

// join waits for the handlers.
func (c *Conn) join() {
	for {
		c.mu.Lock()
		n := c.working
		c.mu.Unlock()
		if n == 0 {
			return
		}
		<-c.left
	}
}

// GoAway begins to end the connection without loss: the client is told to open no more streams, and after a round trip which one was the last.
// It is safe concurrently.
func (c *Conn) GoAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAway()
}

// goAway is GoAway. c.mu is held.
func (c *Conn) goAway() {
	if c.ending != notEnding || c.err != nil {
		return
	}
	c.ending, c.endAt = announced, sweep.now()+2
	c.out = appendGoAway(c.out, lastStream, codeNone)
	c.out = append(appendHead(c.out, 8, framePing, 0, 0), drainPing...)
	c.flushAside()
}

// drainPing is what comes back when the client has read the first GOAWAY: all that it opened before is here.
const drainPing = "edge end"

// nameLast sends the last GOAWAY. c.mu is held.
func (c *Conn) nameLast() {
	if c.ending != announced || c.err != nil {
		return
	}
	c.ending, c.last = lastNamed, c.heard
	c.out = appendGoAway(c.out, c.heard, codeNone)
	c.flushAside()
	c.endIfDone()
}

// stopReading ends the reading goroutine.
func (c *Conn) stopReading() {
	c.broke.Store(true)
	c.nc.SetReadDeadline(past)
}

// endIfDone ends the connection when all has been said. c.mu is held.
func (c *Conn) endIfDone() {
	if c.ending == lastNamed && len(c.streams) == 0 && len(c.out) == 0 && !c.busy {
		c.ending = streamsDone
		c.stopReading()
	}
}
