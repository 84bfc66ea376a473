package socket

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"testing"
)

// writes is a connection that notes how much each Write was given.
type writes struct {
	net.Conn
	sizes []int
	all   bytes.Buffer
	err   error
}

func (w *writes) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.sizes = append(w.sizes, len(p))
	return w.all.Write(p)
}

// What is joined leaves at Flush, in its order, in as few writes as there is room for; what is not joined leaves at once.
func TestJoin(t *testing.T) {
	w := &writes{}
	c := New(w)
	record := bytes.Repeat([]byte("r"), 16<<10+22) // as TLS makes them
	var want []byte
	put := func(first byte) {
		record[0] = first
		want = append(want, record...)
		if n, err := c.Write(record); n != len(record) || err != nil {
			t.Fatal(n, err)
		}
	}
	put('a')
	c.Join(1)
	for first := byte('b'); first < 'g'; first++ {
		put(first)
	}
	if len(w.sizes) != 2 {
		t.Errorf("before Flush: writes of %d bytes", w.sizes)
	}
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
	put('g')
	if sizes := []int{len(record), 4 * len(record), len(record), len(record)}; !slices.Equal(w.sizes, sizes) {
		t.Errorf("writes of %d bytes, want %d", w.sizes, sizes)
	}
	if !bytes.Equal(w.all.Bytes(), want) {
		t.Error("other bytes than were written, or in another order")
	}
}

// After a write that failed nothing leaves any more: its writer took it for sent.
func TestJoinBreaks(t *testing.T) {
	w := &writes{err: errors.New("no")}
	c := New(w)
	c.Join(1)
	if _, err := c.Write([]byte("a")); err != nil {
		t.Error(err)
	}
	if err := c.Flush(); err != w.err {
		t.Errorf("Flush says %v", err)
	}
	no := w.err
	w.err = nil
	if _, err := c.Write([]byte("b")); err != no || w.all.Len() > 0 {
		t.Errorf("a write after the failure: %v, and %q has left", err, w.all.Bytes())
	}
}
