package h2

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"edge/edge/wire"
)

func TestParsePriority(t *testing.T) {
	whole := func(u uint8) priority { return priority{u, true} }
	parts := func(u uint8) priority { return priority{u, false} }
	for field, want := range map[string]priority{
		"": whole(3), "u=0": whole(0), "u=7": whole(7), "i": parts(3), "u=1, i": parts(1), "u=1,i": parts(1), " u=1 \t,\t i ": parts(1), "i=?1": parts(3),
		"i=?0, u=2": whole(2), "u=5, u=2": whole(2), "i, i=?0": whole(3), "u=1;x=2;y, i;z=\"a,b\"": parts(1), `a="x\",u=7", u=4`: whole(4),
		"b=(1 2 u=7), u=4": whole(4), "*x=:YQ==:, u=6": whole(6), "u=1, other": whole(1),
		// of another type, or out of range: the member is ignored
		"u=8": whole(3), "u=-1": whole(3), "u=1.0": whole(3), "u": whole(3), "u=?1": whole(3), "u=\"1\"": whole(3), "i=1": whole(3), "u=01, i": parts(3),
		"u=1, u=9": whole(1),
	} {
		if got, ok := parsePriority(field); !ok || got != want {
			t.Errorf("%q: %v, %v; want %v", field, got, ok, want)
		}
	}
	for _, field := range []string{
		"u=1,", ",u=1", "u=", "u=1 i", "U=1", "u=1;", "u=1; ;", "=1", "u=(1", "u=1)", `u="1`, "u=\x00", "u=\xff", "u=1,,i", "1=u", "u=1, i" + strings.Repeat(" ", longPriority),
	} {
		if got, ok := parsePriority(field); ok || got != unsaid {
			t.Errorf("%q is taken for %v", field, got)
		}
	}
}

// update sends a PRIORITY_UPDATE.
func (c *raw) update(on, id uint32, field string) error {
	return c.fr.WriteRawFrame(frameUpdate, 0, on, append(binary.BigEndian.AppendUint32(nil, id), field...))
}

// wanted is a request of a test, and what is said of it: by a field, and by a frame before and one after it.
type wanted struct {
	id                   uint32
	field, before, after string
}

// order opens streams that cannot send, each of which has a body of several turns, then lets them, and gives the streams in the order in which their
// bodies came.
func order(t *testing.T, of []wanted) (ids []uint32) {
	t.Helper()
	body := make([]byte, 3*turn)
	f := newFront(t, false, func(x *wire.Exchange) {
		x.Head(200, nil, int64(len(body)))
		x.Write(body)
		x.Finish(nil)
	}, nil)
	c := f.raw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	c.get(1) // takes the connection's window
	for got := 0; got < firstWindow; {
		frame, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if d, is := frame.(*http2.DataFrame); is {
			got += len(d.Data())
		}
	}
	c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	for _, w := range of {
		if w.before != "" {
			c.update(0, w.id, w.before)
		}
		var more []string
		if w.field != "" {
			more = []string{"priority", w.field}
		}
		c.get(w.id, more...)
		c.wants(http2.FrameHeaders)
		f.queued(t, w.id)
		if w.after != "" {
			c.update(0, w.id, w.after)
		}
	}
	c.fr.WritePing(false, [8]byte{1})
	c.wants(http2.FramePing) // all is read
	c.fr.WriteWindowUpdate(0, 100<<20)
	for ended := 0; ended < len(of); {
		frame, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		d, is := frame.(*http2.DataFrame)
		if !is {
			continue
		}
		ids = append(ids, d.StreamID)
		if d.StreamEnded() {
			ended++
		}
	}
	return ids
}

// queued waits until a stream of the front's only connection stands in line.
func (f *front) queued(t *testing.T, id uint32) {
	t.Helper()
	until(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		c := f.conns[0]
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(c.queue, func(s *stream) bool { return s.id == id })
	})
}

// apart says whether the last of more than two streams begins after the first has ended.
func apart(got, want []uint32) bool {
	first, last := want[0], want[len(want)-1]
	return len(want) <= 2 || slices.Index(got, last) > len(got)-1-slices.Index(backwards(got), first)
}

// backwards gives the frames in reverse.
func backwards(got []uint32) []uint32 {
	got = slices.Clone(got)
	slices.Reverse(got)
	return got
}

// ends gives the streams as they ended.
func ends(got []uint32) (ids []uint32) {
	for _, id := range backwards(got) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids)
	return ids
}

// Streams that wait to send do so in the order of their urgency, whether a field or a frame says it; of the same urgency those in turns that may be
// sent in parts, one after the other those that may not.
func TestPriority(t *testing.T) {
	for name, c := range map[string]struct {
		of   []wanted
		want []uint32 // by when they ended
	}{
		"urgency":          {[]wanted{{id: 3, field: "u=5, i"}, {id: 5, field: "u=1"}, {id: 7}, {id: 9, field: "u=0, i"}}, []uint32{9, 5, 7, 3}},
		"whole":            {[]wanted{{id: 3, field: "u=4"}, {id: 5, field: "u=4"}, {id: 7, field: "u=4"}}, []uint32{3, 5, 7}},
		"a frame after":    {[]wanted{{id: 3, field: "u=1", after: "u=6"}, {id: 5, field: "u=2"}, {id: 7, after: "u=0"}}, []uint32{7, 5, 3}},
		"a frame before":   {[]wanted{{id: 3, before: "u=6", field: "u=1"}, {id: 5, before: "u=2"}}, []uint32{5, 3}},
		"malformed":        {[]wanted{{id: 3, field: "u=4", after: "u=0,"}, {id: 5, field: "u=2"}, {id: 7, field: "u=,"}}, []uint32{5, 7, 3}},
		"unknown is three": {[]wanted{{id: 3, field: "u=4"}, {id: 5, field: "u=9"}, {id: 7, field: "u=2"}}, []uint32{7, 5, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			// Where a handler is not quick enough to be in line again, another stream has a turn: on a busy machine now and then.
			const tries = 5
			var seen [][]uint32
			held := 0
			for range tries {
				got := order(t, c.of)
				if seen = append(seen, slices.Compact(slices.Clone(got))); slices.Equal(ends(got), c.want) && apart(got, c.want) {
					held++
				}
			}
			if held <= tries/2 {
				t.Errorf("the bodies came as %v, want their ends as %v", seen, c.want)
			}
		})
	}
	for name, of := range map[string][]wanted{
		"said":   {{id: 3, field: "u=2, i"}, {id: 5, field: "u=2, i"}, {id: 7, field: "u=2, i"}},
		"unsaid": {{id: 3}, {id: 5}, {id: 7}}, // nobody who asks for much keeps others waiting
	} {
		t.Run("in turns, "+name, func(t *testing.T) {
			got := order(t, of)
			for i := 0; i+2*turn/maxFrame <= len(got)-2*turn/maxFrame; i++ {
				window := slices.Compact(slices.Sorted(slices.Values(got[i : i+2*turn/maxFrame+1])))
				if len(window) < 2 {
					t.Fatalf("stream %v has more than its turn: %v", window, got)
				}
			}
		})
	}
}

// What is no PRIORITY_UPDATE ends the connection, as RFC 9218 says; one that comes too late, or says nothing, does nothing.
func TestPriorityUpdate(t *testing.T) {
	f := newFront(t, false, ok, func(f *front) { f.o.Streams = 3 })
	for name, do := range map[string]func(c *raw) error{
		"on a stream":        func(c *raw) error { return c.update(1, 1, "u=1") },
		"of stream 0":        func(c *raw) error { return c.update(0, 0, "u=1") },
		"of a pushed stream": func(c *raw) error { return c.update(0, 2, "u=1") },
		"of too many": func(c *raw) error {
			for i := range uint32(4) {
				c.update(0, 2*i+1, "u=1")
			}
			return nil
		},
	} {
		c := f.raw()
		do(c)
		if code, is := c.goAway(); !is || code != http2.ErrCodeProtocol {
			t.Errorf("%s: GOAWAY %v, %v", name, code, is)
		}
	}
	c := f.raw()
	c.fr.WriteRawFrame(frameUpdate, 0, 0, []byte{0, 0, 1})
	if code, is := c.goAway(); !is || code != http2.ErrCodeFrameSize {
		t.Errorf("too short: GOAWAY %v, %v", code, is)
	}
	c = f.raw()
	for i := range uint32(20) {
		id := 2*i + 1
		c.update(0, id, "u=1,")
		c.update(0, id, fmt.Sprintf("u=%d", i%8))
		c.update(0, id, "u=1")
		c.get(id)
		c.wants(http2.FrameHeaders)
		c.wants(http2.FrameData)
		c.update(0, id, "u=2")
	}
}

// The settings say that the priorities of RFC 7540 count for nothing.
func TestNoOldPriorities(t *testing.T) {
	c := newFront(t, false, ok, nil).raw()
	f, err := c.fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if v, is := f.(*http2.SettingsFrame).Value(settingNoPriorities); !is || v != 1 {
		t.Error("they do not")
	}
}
