package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"edge/edge/h1"
	"edge/edge/h2"
	"edge/edge/tunnel"
	"edge/edge/upstream"
)

func (r *relaying) use(c *upstream.Conn) {
	r.conn, r.up = c, c
	if !c.Reused {
		r.x.Record.Connected = r.x.Record.Now()
	}
	r.x.OnGone(c.OnGone())
}

// drop gives the connection up.
func (r *relaying) drop() {
	r.x.OnGone(nil)
	r.conn.Close()
	r.conn, r.up = nil, nil
}

// askH1 sends the request and reads the answer's head; once more on a new connection, if the target had closed the one that was used again
// before it got the request, or before it said a word about one that it may get twice.
func (r *relaying) askH1(t *upstream.Target) (h1.Answer, error) {
	head, err := r.askFirst(t)
	if err == nil || r.conn == nil || !r.again(err) {
		return head, err
	}
	r.drop()
	c, dialErr := t.NewConn(r.whom.Context())
	if dialErr != nil {
		return head, fmt.Errorf("after %w: %w", err, dialErr)
	}
	r.use(c)
	return r.exchange()
}

// askFirst asks on the first connection that is not stale.
func (r *relaying) askFirst(t *upstream.Target) (h1.Answer, error) {
	for {
		c, err := t.Conn(r.whom)
		if err != nil {
			return h1.Answer{}, unreached{err}
		}
		r.use(c)
		head, err := r.exchange()
		if !errors.Is(err, h1.ErrStale) {
			return head, err
		}
		r.drop()
	}
}

// again says whether a request that failed goes out a second time.
func (r *relaying) again(err error) bool {
	return r.conn.Reused && !r.conn.Answered() && dead(err) && (unsent(err) || r.repeats)
}

// unsent says whether the target has not got a byte of the request.
func unsent(err error) bool {
	var no *h1.NotSentError
	var noCall *h2.NotSentError
	return errors.As(err, &no) || errors.As(err, &noCall)
}

// dead says whether an error means that the target has closed the connection.
func dead(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (r *relaying) exchange() (h1.Answer, error) {
	r.req.Within = r.course.left()
	err := r.conn.Send(&r.req)
	switch {
	case err == nil && r.streams:
		r.upload.start(r.conn.ClientConn, r.x, r.proxy)
	case err == nil:
	case unsent(err) && (r.conn.Reused || !dead(err)), errors.Is(err, os.ErrDeadlineExceeded):
		return h1.Answer{}, err
	}
	head, err := r.conn.ReadHead(r) // also after an error: an answer may explain it
	r.answered = r.answered || r.conn.Answered()
	return head, err
}

// tunnel joins the client with a target that switched protocols.
func (r *relaying) tunnel(head h1.Answer) error {
	fields, err := r.proof.given(head.Fields)
	if err != nil {
		return err
	}
	r.headed = true
	r.x.OnGone(nil)
	client, err := r.x.Tunnel(r.proxy.theirs(fields))
	if err != nil {
		return err
	}
	up := r.conn.Stream()
	r.conn, r.up = nil, nil
	defer up.Close()
	facts := tunnel.Facts{Kind: tunnel.Upgrade, Protocol: string(r.x.Upgrade)}
	join(r.proxy.Tunnels, r.x.Holds, facts, r.x.Record, r.x.Conn, client, up)
	return nil
}
