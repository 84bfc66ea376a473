// Package upgrade starts a process that is to take this one's place, hands it files, and keeps the conversation with it. What the files are
// is not known here.
//
// The child gets the files as descriptors 3, 4, …, in order, and after them its end of a socket pair. One environment variable, Variable,
// describes the files, in the same order, and so says which descriptor the conversation is on. After that comes the image of the parent's program, which
// HELLO names: by it one goes back whatever the file on disk is by then. The messages, one JSON object each:
//
//	parent → child  HELLO   the protocol's version, the child's generation, the parent's image
//	child → parent  READY   everything that can fail has been done; or FAIL, and why
//	parent → child  STATE   what the parent remembers, in parts, to a child whose READY says that it takes any
//	parent → child  GO      the parent accepts no more
//	child → parent  SERVING
//	parent → child  PROBE   are you there? each second, and before COMMIT; the child says SERVING, and how that goes: its Health
//	parent → child  COMMIT  there is no way back; or ABORT, at any time before, and why
//
// Until COMMIT the parent can take everything back, and a child that dies, hangs or says anything else makes it do so. After it the child ends
// the conversation when it has taken the parent's place in all, and the parent does not end before that.
package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that describes the files to the child.
const Variable = "EDGE_LISTENERS"

// The versions of the conversation that this program speaks.
const (
	oldest  = 1
	version = 1
)

// kind is the kind of a message.
type kind string

const (
	hello   kind = "HELLO"
	ready   kind = "READY"
	fail    kind = "FAIL"
	state   kind = "STATE"
	goOn    kind = "GO"
	serving kind = "SERVING"
	probe   kind = "PROBE"
	commit  kind = "COMMIT"
	abort   kind = "ABORT"
)

// message is one packet.
type message struct {
	Version    int     `json:"v"`
	Oldest     int     `json:"oldest,omitempty"`
	Kind       kind    `json:"kind"`
	Generation int     `json:"gen,omitempty"`
	Reason     string  `json:"reason,omitempty"`
	Health     *Health `json:"health,omitempty"`      // with SERVING; nil from a program that does not tell
	TakesState bool    `json:"takes_state,omitempty"` // with READY
	State      string  `json:"state,omitempty"`       // with STATE: a part of it, in base64
	Image      *image  `json:"image,omitempty"`       // with HELLO: the parent's program
}

// Health is how serving goes, counted since the process started.
type Health struct {
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"` // of them: those that the process itself is to blame for
	Panics   uint64 `json:"panics"` // that it survived
}

// maxMessage bounds a packet, and maxReason the reason in it, which JSON makes up to six times as long.
const (
	maxMessage = 64 << 10
	maxReason  = 10 << 10
)

// MaxState bounds what a parent can hand over, and statePart what of it one message has.
const (
	MaxState  = 1 << 20
	statePart = 40 << 10
)

// conversation is one end of the socket pair.
type conversation struct{ net.Conn }

// pair makes a socket pair: our end, and the child's as a file.
func pair() (conversation, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return conversation{}, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, err := open(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return conversation{}, nil, err
	}
	return ours, os.NewFile(uintptr(fds[1]), "conversation"), nil
}

// open takes over a descriptor.
func open(fd int) (conversation, error) {
	f := os.NewFile(uintptr(fd), "conversation")
	defer f.Close()
	c, err := net.FileConn(f)
	return conversation{c}, err
}

func (c conversation) send(m message) error {
	m.Version = version
	m.Reason = m.Reason[:min(len(m.Reason), maxReason)]
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err = c.Write(text)
	return err
}

// receive waits for a packet. io.EOF: the other side has ended.
func (c conversation) receive() (m message, err error) {
	buf := make([]byte, maxMessage+1)
	n, err := c.Read(buf)
	if errors.Is(err, unix.ECONNRESET) { // it ended before it had read all that we said; what it said last comes after that
		n, err = c.Read(buf)
	}
	if err != nil {
		return m, err
	}
	if n == 0 { // how a packet socket says that its peer is gone
		return m, io.EOF
	}
	if n > maxMessage {
		return m, fmt.Errorf("a message of more than %d bytes", maxMessage)
	}
	if err := json.Unmarshal(buf[:n], &m); err != nil {
		return m, fmt.Errorf("a message that is none: %w", err)
	}
	if m.Kind == "" {
		return m, errors.New("a message of no kind")
	}
	if m.Version < oldest {
		return m, fmt.Errorf("version %d of the conversation is not spoken any more", m.Version)
	}
	return m, nil
}

// broken says whether an error means that the conversation has ended.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// errEnded is what the other side's silent end is.
var errEnded = errors.New("the other process has ended without a word")
