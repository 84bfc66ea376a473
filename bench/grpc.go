package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The call is UnaryCall of gRPC's interoperability service. It asks for a payload of zeros and gets it.
const (
	grpcMethod  = "/grpc.testing.TestService/UnaryCall"
	grpcStreams = 16
	grpcPayload = 64
)

var (
	grpcQuestion = grpcMessage([]byte{2 << 3, grpcPayload})                                                                        // response_size
	grpcAnswer   = grpcMessage(slices.Concat([]byte{1<<3 | 2, grpcPayload + 2, 2<<3 | 2, grpcPayload}, make([]byte, grpcPayload))) // payload { body }
)

// grpcMessage puts the prefix before a short message: not compressed, its length.
func grpcMessage(m []byte) []byte { return slices.Concat([]byte{0, 0, 0, 0, byte(len(m))}, m) }

// buildGRPC gives the program of the origin, gRPC's own server, which is in a module of its own (test/grpc).
func (l *lab) buildGRPC(ctx context.Context) error {
	l.programs[grpcOrigin.name] = filepath.Join(l.dir, "grpc-program")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", l.programs[grpcOrigin.name], "./origin")
	cmd.Dir = filepath.Join(l.root, "test/grpc")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the gRPC origin: %w: %s", err, lastLine(string(out)))
	}
	return nil
}

// grpc makes unary calls, so many at a time on each connection, and checks each answer: both header blocks and the message.
func (l *lab) grpc(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	end := time.Now().Add(duration)
	return together(w.conns, func(int) ([]time.Duration, error) {
		conn, err := dial(ctx, p, l.tlsOffer(http2.NextProtoTLS), end.Add(patience))
		if err != nil {
			return nil, err
		}
		defer conn.NetConn().Close()
		c := newCaller(conn, fmt.Sprintf("127.0.0.1:%d", p.site.TLS))
		if err := c.run(end); err != nil {
			return nil, fmt.Errorf("after %d calls: %w", len(c.times), err)
		}
		return c.times, nil
	})
}

// A caller is an HTTP/2 connection that makes calls. One goroutine does all: what it has written goes out before it waits.
type caller struct {
	out     *bufio.Writer
	in      *bufio.Reader
	frames  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	host    string

	next   uint32           // the next stream's number
	calls  map[uint32]*call // that are under way
	due    int              // calls that wait for window
	window int              // how many bytes of messages the peer takes
	times  []time.Duration
}

// A call is what is known of one.
type call struct {
	began   time.Time
	started bool // its first header block has come
	message []byte
}

func newCaller(conn io.ReadWriter, host string) *caller {
	c := &caller{out: bufio.NewWriterSize(conn, 16*kib), in: bufio.NewReaderSize(conn, 16*kib), host: host, next: 1, calls: map[uint32]*call{}, window: 65535}
	c.frames = http2.NewFramer(c.out, c.in)
	c.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.frames.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
	return c
}

// run calls until the time is over, 16 times at least, and all calls under way have been answered.
func (c *caller) run(end time.Time) error {
	c.out.WriteString(http2.ClientPreface)
	// The connection's window is the largest: a message is less than a stream's.
	if err := errors.Join(c.frames.WriteSettings(http2.Setting{ID: http2.SettingEnablePush}), c.frames.WriteWindowUpdate(0, 1<<31-1-65535), c.out.Flush()); err != nil {
		return err
	}
	f, err := c.frames.ReadFrame()
	if err != nil {
		return err
	}
	if _, ok := f.(*http2.SettingsFrame); !ok {
		return fmt.Errorf("the first frame is %v", f.Header())
	}
	c.due = grpcStreams
	for {
		if err := c.take(f); err != nil {
			return err
		}
		if begun := c.next > 1; begun && time.Now().After(end) {
			c.due = 0
		}
		if err := c.begin(); err != nil {
			return err
		}
		if len(c.calls) == 0 && c.due == 0 {
			return nil
		}
		if c.in.Buffered() == 0 {
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
		if f, err = c.frames.ReadFrame(); err != nil {
			return err
		}
	}
}

// begin makes the calls that are due, as far as the window goes.
func (c *caller) begin() error {
	for ; c.due > 0 && c.window >= len(grpcQuestion); c.due-- {
		c.block.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", grpcMethod}, {":authority", c.host},
			{"content-type", "application/grpc"}, {"user-agent", "edge-bench"}, {"te", "trailers"}} {
			if err := c.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
				return err
			}
		}
		err := c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.block.Bytes(), EndHeaders: true})
		if err := errors.Join(err, c.frames.WriteData(c.next, true, grpcQuestion)); err != nil {
			return err
		}
		c.calls[c.next] = &call{began: time.Now()}
		c.next, c.window = c.next+2, c.window-len(grpcQuestion)
	}
	return nil
}

// take acts on a frame. A call that fails is an error.
func (c *caller) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.frames.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		call := c.calls[f.StreamID]
		if call == nil || !call.started {
			return fmt.Errorf("data of stream %d, which has no answer", f.StreamID)
		}
		call.message = append(call.message, f.Data()...)
		if f.StreamEnded() {
			return errors.New("an answer without trailers")
		}
	case *http2.GoAwayFrame, *http2.RSTStreamFrame:
		return fmt.Errorf("the server sends %v", f)
	}
	return nil
}

func (c *caller) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if n, ok := f.Value(http2.SettingHeaderTableSize); ok {
		c.encoder.SetMaxDynamicTableSizeLimit(n)
	}
	return c.frames.WriteSettingsAck()
}

// headers takes the beginning of an answer, or its end, upon which another call is due.
func (c *caller) headers(f *http2.MetaHeadersFrame) error {
	call := c.calls[f.StreamID]
	switch {
	case call == nil:
		return fmt.Errorf("an answer to stream %d, which nobody asked", f.StreamID)
	case !call.started:
		if f.PseudoValue("status") != "200" || !strings.HasPrefix(field(f, "content-type"), "application/grpc") || f.StreamEnded() {
			return fmt.Errorf("the answer begins with %v", f.Fields)
		}
		call.started = true
		return nil
	case !f.StreamEnded() || field(f, "grpc-status") != "0" || !bytes.Equal(call.message, grpcAnswer):
		return fmt.Errorf("the answer is %q and ends with %v", call.message, f.Fields)
	}
	c.times = append(c.times, time.Since(call.began))
	delete(c.calls, f.StreamID)
	c.due++
	return nil
}

func field(f *http2.MetaHeadersFrame, name string) string {
	for _, field := range f.RegularFields() {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}
