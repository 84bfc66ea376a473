package upgrade

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// remembers reports what it was handed over.
func remembers() error {
	p, _, err := Inherited()
	if err != nil {
		return err
	}
	if err := p.Ready(context.Background()); err != nil {
		return err
	}
	report("%d bytes, %x", len(p.State()), sha256.Sum256(p.State()))
	p.Fail(errors.New("that was all"))
	return nil
}

// What a parent remembers reaches its child whole, up to the bound (R56).
func TestState(t *testing.T) {
	for _, size := range []int{0, 1, statePart, statePart + 1, MaxState} {
		text := bytes.Repeat([]byte{0, 0xff, 'a'}, size/3+1)[:size]
		w, read := reports(t)
		c, err := Start(testProgram(t, "remembers"), 2, []*os.File{w}, []byte(`[{}]`))
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		err = errors.Join(c.Ready(ctx), c.HandOver(text))
		if refused := c.Go(ctx); err != nil || refused == nil || !strings.Contains(refused.Error(), "that was all") {
			t.Errorf("%d bytes: %v, %v", size, err, refused)
		}
		c.Kill(ctx, errNotReady, 0)
		if said, want := read(), fmt.Sprintf("%d bytes, %x\n", size, sha256.Sum256(text)); said != want {
			t.Errorf("%q, want %q", said, want)
		}
	}
}

// A child that does not say that it takes anything is an older program, which would not understand: it gets GO and nothing else (R25).
func TestStateOfOld(t *testing.T) {
	w, _ := reports(t)
	c, err := Start(testProgram(t, "older"), 2, []*os.File{w}, []byte(`[{}]`))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := errors.Join(c.Ready(ctx), c.HandOver([]byte("much")), c.Go(ctx)); err != nil {
		t.Error(err)
	}
	c.Kill(ctx, errNotReady, 0)
}

// older is a child of a program that knows no STATE.
func older() error {
	p, _, err := Inherited()
	if err != nil {
		return err
	}
	p.c.send(message{Kind: ready})
	if e := <-p.received; e.Kind != goOn || p.state != nil {
		return p.Fail(fmt.Errorf("it says %q", e.Kind))
	}
	p.c.send(message{Kind: serving})
	select {}
}

// Of more than may be, and of what is no state, nothing is kept, and the upgrade goes on.
func TestBadState(t *testing.T) {
	part := base64.StdEncoding.EncodeToString(make([]byte, statePart))
	for name, parts := range map[string][]string{
		"too much": strings.Fields(strings.Repeat(part+" ", MaxState/statePart+2)),
		"garbage":  {part, "no base64", part},
	} {
		p, parent, _ := child(t)
		sent := make(chan error, 1)
		go func() {
			for _, part := range parts {
				parent.send(message{Kind: state, State: part})
			}
			sent <- parent.send(message{Kind: goOn})
		}()
		if err := p.Ready(t.Context()); err != nil || p.State() != nil {
			t.Errorf("%s: %v, %d bytes", name, err, len(p.State()))
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}
