package drill

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/websocket"
)

// Pipelined is an HTTP/1.1 client that sends two requests at once, and then waits for both answers. An answer that says it is the connection's last
// leaves the second request without one: that is a failure, though RFC 9112 section 9.3.2 would let this client ask again.
func Pipelined(dial Dial, base string, think time.Duration) Client {
	return kept(dial, think, func(c *h1, r *Report) bool {
		var both bytes.Buffer
		var reqs [2]*http.Request
		var ids [2]int64
		for i := range reqs {
			var err error
			if reqs[i], ids[i], err = r.request(base); err == nil {
				err = reqs[i].Write(&both)
			}
			if err != nil {
				r.fail("request", err)
				return true
			}
		}
		began := time.Now()
		c.c.SetDeadline(began.Add(patience))
		if _, err := c.c.Write(both.Bytes()); err != nil {
			r.fail("writing", err)
			c.c.Close()
			return false
		}
		for i, req := range reqs {
			if !c.answer(r, req, began, func(resp *http.Response) error { return verify(resp, ids[i]) }) {
				if i == 0 {
					r.fail("reading", errors.New("the second of two requests has no answer"))
				}
				return false
			}
		}
		return true
	})
}

// Uploads sends bodies slowly, and has the app say what it got.
func Uploads(dial Dial, base string) Client {
	return kept(dial, 0, func(c *h1, r *Report) bool {
		id := r.id()
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/drill/upload/%d", base, id), slowBody(id))
		if err == nil {
			c.c.SetDeadline(time.Now().Add(patience))
			err = req.Write(c.c)
		}
		if err != nil {
			r.fail("writing", err)
			c.c.Close()
			return false
		}
		return c.answer(r, req, time.Now(), func(resp *http.Response) error { return whole(resp, wholeSum(id)) })
	})
}

// slowBody is a body that comes in pieces.
func slowBody(id int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		for n := range pieces {
			time.Sleep(piecePause) // a slow client
			if _, err := w.Write(piece(id, n)); err != nil {
				return
			}
		}
		w.Close()
	}()
	return r
}

// whole checks an answer to an upload.
func whole(resp *http.Response, want string) error {
	got, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return wrongly("status %d", resp.StatusCode)
	case string(got) != want:
		return wrongly("the app got %s, sent was %s", got, want)
	}
	return nil
}

// Downloads reads bodies that come slowly.
func Downloads(dial Dial, base string) Client {
	return kept(dial, 0, func(c *h1, r *Report) bool {
		id := r.id()
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/drill/download/%d", base, id), nil)
		began := time.Now()
		if err == nil {
			c.c.SetDeadline(began.Add(patience))
			err = req.Write(c.c)
		}
		if err != nil {
			r.fail("writing", err)
			c.c.Close()
			return false
		}
		return c.answer(r, req, began, func(resp *http.Response) error { return sums(resp, wholeSum(id)) })
	})
}

// sums checks a download.
func sums(resp *http.Response, want string) error {
	h := crc64.New(table)
	n, err := io.Copy(h, resp.Body)
	switch got := hex.EncodeToString(h.Sum(nil)); {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return wrongly("status %d", resp.StatusCode)
	case got != want:
		return wrongly("a wrong body of %d bytes, sum %s, want %s", n, got, want)
	}
	return nil
}

// Messages is a WebSocket client: it numbers its messages, and each must come back before the next is sent. After life it hangs up and
// opens another one; 0: it never does.
func Messages(dial Dial, base string, think, life time.Duration) Client {
	return func(ctx context.Context, r *Report) {
		for ctx.Err() == nil {
			c := open(dial, r)
			if c == nil {
				continue
			}
			if err := converse(ctx, c, base, think, life, r); err != nil {
				r.fail("WebSocket", err)
				c.Close()
			}
		}
	}
}

func converse(ctx context.Context, c net.Conn, base string, think, life time.Duration, r *Report) error {
	c.SetDeadline(time.Now().Add(patience))
	config, err := websocket.NewConfig("ws"+base[len("http"):]+"/drill/echo/"+strconv.FormatInt(r.id(), 10), base)
	if err != nil {
		return err
	}
	ws, err := websocket.NewClient(config, c)
	if err != nil {
		return err
	}
	for n, end := uint64(0), time.Now().Add(life); ctx.Err() == nil && (life == 0 || time.Now().Before(end)); n++ {
		began := time.Now()
		c.SetDeadline(began.Add(patience))
		sent := binary.BigEndian.AppendUint64(nil, n)
		if err := websocket.Message.Send(ws, sent); err != nil {
			return err
		}
		var got []byte
		if err := websocket.Message.Receive(ws, &got); err != nil {
			return err
		}
		if !bytes.Equal(got, sent) {
			return wrongly("message %d came back as %x", n, got)
		}
		r.ok(began)
		time.Sleep(think)
	}
	ws.WriteClose(1000)
	hangUp(c)
	return nil
}

// maxBlock is how much a tunnel's client sends at a time, at most.
const maxBlock = 16 << 10

// Tunnel is a client of a TCP tunnel to an echo: it hashes all that it sends and all that it gets. After life it ends its side, and must then
// see the end of the other; 0: it lives as long as the drill.
func Tunnel(dial Dial, think, life time.Duration) Client {
	return func(ctx context.Context, r *Report) {
		for ctx.Err() == nil {
			c := open(dial, r)
			if c == nil {
				continue
			}
			if err := roll(ctx, c, think, life, r); err != nil {
				r.fail("tunnel", err)
			}
			c.Close()
		}
	}
}

func roll(ctx context.Context, c net.Conn, think, life time.Duration, r *Report) error {
	sent, got := crc64.New(table), crc64.New(table)
	in := make([]byte, maxBlock)
	for end := time.Now().Add(life); ctx.Err() == nil && (life == 0 || time.Now().Before(end)); {
		began := time.Now()
		c.SetDeadline(began.Add(patience))
		block := bytes.Repeat(binary.BigEndian.AppendUint64(nil, rand.Uint64()), 1+rand.IntN(maxBlock/8))
		sent.Write(block)
		if _, err := c.Write(block); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, in[:len(block)]); err != nil {
			return err
		}
		if got.Write(in[:len(block)]); got.Sum64() != sent.Sum64() {
			return wrongly("a block of %d bytes came back as another one", len(block))
		}
		r.ok(began)
		time.Sleep(think)
	}
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		if err := w.CloseWrite(); err != nil {
			return err
		}
	}
	c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(in); n != 0 || err != io.EOF {
		return fmt.Errorf("at the end %d bytes, %w", n, err)
	}
	return nil
}
