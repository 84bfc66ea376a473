package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A dial for which this process has no descriptor tells nothing of the target, however often it fails; one that is refused does.
func TestOwnWantIsNoFailure(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	u, log := frail("tcp://"+ln.Addr().String(), "tcp://127.0.0.1:1")
	for range 2 * maxFails {
		err := dialStarved(t, u.Targets()[0])
		if !errors.Is(err, unix.EMFILE) {
			t.Fatalf("the dial fails with %v", err)
		}
		u.Targets()[0].Failed(err)
	}
	if said := log.take(); said != "" {
		t.Errorf("it logs %s", said)
	}
	for _, own := range []error{unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		for range maxFails {
			u.Targets()[0].Failed(&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", own)})
		}
	}
	if said := log.take(); said != "" {
		t.Errorf("it logs %s", said)
	}
	for range maxFails {
		_, err := u.Targets()[1].Dial(t.Context())
		u.Targets()[1].Failed(err)
	}
	if log.take() == "" {
		t.Error("a target that refuses is not set aside")
	}
}

// dialStarved dials with no descriptor left.
func dialStarved(t *testing.T, target *Target) error {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	c, err := target.Dial(context.WithoutCancel(t.Context()))
	if err == nil {
		c.Close()
	}
	return err
}
