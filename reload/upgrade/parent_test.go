package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child is a Parent as a child has it, and the other end of its conversation.
func child(t *testing.T) (p *Parent, parent conversation, listening <-chan struct{}) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, err1 := open(fds[0])
	parent, err2 := open(fds[1])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	p = &Parent{c: ours, received: make(chan event, 4)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.listen()
	}()
	t.Cleanup(func() {
		parent.Close()
		<-ended
		p.Settled()
	})
	return p, parent, ended
}

// say makes what a parent sends.
func say(k kind, reason string) func(conversation) {
	return func(c conversation) { c.send(message{Kind: k, Reason: reason}) }
}

func end(c conversation) { c.Close() }

// unread waits until the child has said something, and leaves it in the socket: what comes next is a reset.
func unread(c conversation) {
	rc, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		panic(err)
	}
	rc.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
		return err != unix.EAGAIN
	})
}

// What a child does with each way in which its parent can go on, or end, before and while it is asked something (R14). Before GO a parent's end is the
// child's; after it, when the parent may have stopped accepting, somebody must serve.
func TestParent(t *testing.T) {
	type parent []func(conversation)
	takesBack := "the running process takes it back: too slow"
	for _, test := range []struct {
		name          string
		before, while parent
		ready         string // Ready's error, if these were to come while it waits for GO
		serving       string // and Serving's, while it waits for COMMIT
	}{
		{"says GO", nil, parent{unread, say(goOn, "")}, "", "the running process says GO in place of COMMIT"},
		{"says COMMIT", nil, parent{unread, say(commit, "")}, "the running process says COMMIT in place of GO", ""},
		{"says COMMIT and ends", nil, parent{unread, say(commit, ""), end}, "the running process says COMMIT in place of GO", ""},
		{"ends", nil, parent{func(c conversation) { c.receive() }, end}, errEnded.Error(), ""},
		{"ends without listening", nil, parent{unread, end}, errEnded.Error(), ""},
		{"has ended", parent{end}, nil, errEnded.Error(), ""},
		{"says ABORT", nil, parent{unread, say(abort, "too slow")}, takesBack, takesBack},
		{"says ABORT and ends", nil, parent{unread, say(abort, "too slow"), end}, takesBack, takesBack},
		{"has said ABORT", parent{say(abort, "too slow")}, nil, takesBack, takesBack},
		{"has said ABORT and ended", parent{say(abort, "too slow"), end}, nil, takesBack, takesBack},
		{"talks nonsense", nil, parent{func(c conversation) { c.Write([]byte("?")) }}, "a message that is none", "a message that is none"},
	} {
		for step, want := range map[string]string{"ready": test.ready, "serving": test.serving} {
			t.Run(test.name+"/"+step, func(t *testing.T) {
				p, c, listened := child(t)
				for _, f := range test.before {
					f(c)
				}
				if test.before != nil {
					<-listened
				}
				played := make(chan struct{})
				go func() {
					defer close(played)
					for _, f := range test.while {
						f(c)
					}
				}()
				ask := p.Ready
				if step == "serving" {
					ask = func(ctx context.Context) error { return p.Serving(ctx, nil) }
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("the test waits no longer"))
				defer cancel()
				err := ask(ctx)
				<-played
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("error %v, want %q", err, want)
				}
			})
		}
	}
}

func TestParentGivenUp(t *testing.T) {
	p, _, _ := child(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("TERM"))
	for _, err := range []error{p.Ready(ctx), p.Serving(ctx, nil)} {
		if err == nil || err.Error() != "TERM" {
			t.Errorf("error: %v", err)
		}
	}
}

// A parent that is killed (R14): before GO its child ends too, for nobody may have stopped accepting; after SERVING it is the one that serves.
func TestParentDies(t *testing.T) {
	for name, want := range map[string]string{"parent dies at READY": "error: " + errEnded.Error(), "parent dies serving": "committed"} {
		t.Run(name, func(t *testing.T) {
			w, read := reports(t)
			cmd := command(t, name, w)
			if err := cmd.Run(); err == nil || err.Error() != "signal: killed" {
				t.Errorf("the parent ends with %v", err)
			}
			if said := read(); said != "generation 2 [{}]\n"+want+"\n" {
				t.Errorf("the child reports %q, want %q", said, want)
			}
		})
	}
}

// R25: versions that have nothing in common are a reason to fail, which both sides say; fields and versions to come are none.
func TestVersions(t *testing.T) {
	for hello, want := range map[string]message{
		`{"v":1,"kind":"HELLO","oldest":1,"gen":2}`:             {Version: 1, Kind: ready, TakesState: true},
		`{"v":7,"kind":"HELLO","oldest":1,"gen":2,"new":["?"]}`: {Version: 1, Kind: ready, TakesState: true},
		`{"v":7,"kind":"HELLO","oldest":2,"gen":2}`: {Version: 1, Kind: fail,
			Reason: "the running process speaks version 2 to 7 of the conversation, this program 1"},
		`{"v":0,"kind":"HELLO","oldest":0,"gen":2}`: {Version: 1, Kind: fail,
			Reason: "waiting for HELLO: version 0 of the conversation is not spoken any more"},
	} {
		t.Run(hello, func(t *testing.T) {
			ours, theirs, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			w, _ := reports(t)
			cmd := command(t, "good", w, theirs)
			cmd.Env = append(cmd.Env, Variable+`=[{}]`)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			ours.Write([]byte(hello))
			got, err := ours.receive()
			if err != nil || got != want {
				t.Errorf("the child says %+v, %v; want %+v", got, err, want)
			}
			ours.Close()
			cmd.Wait()
		})
	}
}

// The variable alone, set by hand or left over, makes no upgrade.
func TestNoConversation(t *testing.T) {
	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stream[0])
	socket := os.NewFile(uintptr(stream[1]), "stream")
	defer socket.Close()
	isNone := Variable + " is set, but descriptor %d is no conversation: unset it"
	for _, test := range []struct {
		value string
		extra []*os.File
		want  string
	}{
		{`[{}]`, nil, fmt.Sprintf(isNone, 4)},                      // nothing there
		{`[{}]`, []*os.File{socket}, fmt.Sprintf(isNone, 4)},       // another kind of socket
		{`[]`, nil, fmt.Sprintf(isNone, 3)},                        // a pipe
		{`[{},{},{},{}]`, nil, fmt.Sprintf(isNone, firstFD+4)},     // whatever Go's runtime has there
		{``, nil, Variable + ": unexpected end of JSON input"},     //
		{`{"fd":3}`, nil, Variable + ": json: cannot unmarshal"},   //
		{`https,http`, nil, Variable + ": invalid character 'h' "}, //
	} {
		w, read := reports(t)
		cmd := command(t, "inherited", append([]*os.File{w}, test.extra...)...)
		cmd.Env = append(cmd.Env, Variable+"="+test.value)
		cmd.Run()
		if said := read(); !strings.HasPrefix(said, "error: "+test.want) {
			t.Errorf("%s=%s: %q, want %q", Variable, test.value, said, test.want)
		}
	}
	if p, facts, err := Inherited(); p != nil || facts != nil || err != nil {
		t.Errorf("without the variable: %v, %s, %v", p, facts, err)
	}
}
