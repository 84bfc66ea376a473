// Package admin owns the control socket: who may speak there, and how. What can be asked for it is given as functions.
//
// A connection carries one question. The server says a Hello when it turns to it, so that a client knows that nothing was begun if it hears none;
// then the client sends a Request, and the server its Answer. Each is one line of JSON, of at most MaxLine bytes.
package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// version is the protocol's.
const version = 1

// MaxLine bounds a line, with its end.
const MaxLine = 1 << 20

// lineTime is how long a line may take to be written, and one that is due to be read.
const lineTime = 5 * time.Second

// hello is what a server says first.
type hello struct {
	V     int    `json:"v"`
	PID   int    `json:"pid"`
	Error string `json:"error,omitempty"` // why nothing can be asked
}

// request is a question.
type request struct {
	V    int             `json:"v"`
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

// answer is what is said to a request.
type answer struct {
	V      int             `json:"v"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Moved  bool            `json:"moved,omitempty"` // another process is to be asked, and nothing was done
}

// ErrMoved is what an operation gives that another process has to do. Nothing was done.
var ErrMoved = errors.New("another process has taken over")

// write sends a line.
func write(c net.Conn, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(line) >= MaxLine {
		return fmt.Errorf("a line of %d bytes is too long", len(line))
	}
	c.SetWriteDeadline(time.Now().Add(lineTime))
	_, err = c.Write(append(line, '\n'))
	return err
}

// read waits for a line until a moment.
func read(c net.Conn, until time.Time, v any) error {
	c.SetReadDeadline(until)
	line, err := bufio.NewReader(io.LimitReader(c, MaxLine)).ReadBytes('\n')
	if err == io.EOF && len(line) == MaxLine {
		return fmt.Errorf("a line of more than %d bytes", MaxLine)
	}
	if err == io.EOF && len(line) > 0 {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// peer is who is at the other end.
func peer(c *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return nil, cerr
	}
	return cred, err
}
