package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
)

const queueTime = time.Second

// narrow is an upstream whose targets have room for so many exchanges, and whose queue for so many.
func narrow(t testing.TB, room, queued int, targets ...string) *Upstream {
	s := spec(targets...)
	s.MaxInFlight = room
	if queued > 0 {
		s.Queue = &conf.Queue{Size: queued, Timeout: queueTime}
	}
	return draft(t, nil, s)[s]
}

// within is whom an exchange is for that may be given up.
type within struct{ ctx context.Context }

func (w within) Context() context.Context { return w.ctx }

// got is what Take gave.
type got struct {
	Turn
	err error
	at  time.Time
}

// takes asks for a turn, which comes by the channel.
func takes(ctx context.Context, u *Upstream, tried ...*Target) <-chan got {
	c := make(chan got, 1)
	go func() {
		t, err := u.Take(within{ctx}, tried, nil)
		c <- got{t, err, time.Now()}
	}()
	synctest.Wait()
	return c
}

// No target has more exchanges than it may; where all are full, and there is no queue, nobody gets a turn until one has ended.
func TestFull(t *testing.T) {
	for _, least := range []bool{false, true} {
		u := narrow(t, 2, 0, "http://a", "http://b")
		u.least = least
		names, turns := map[string]int{}, []Turn(nil)
		for range 4 {
			turn, err := u.Take(anybody{}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			names[turn.Name]++
			turns = append(turns, turn)
		}
		if names["a"] != 2 || names["b"] != 2 {
			t.Errorf("picked %v", names)
		}
		if turn, err := u.Take(anybody{}, nil, nil); err != ErrFull || turn.Target != nil {
			t.Errorf("one too many gets %v, %v", turn, err)
		}
		turns[2].Done()
		if turn, err := u.Take(anybody{}, nil, nil); err != nil || turn.Target != turns[2].Target {
			t.Errorf("where one has ended there is %v, %v", turn, err)
		}
	}
}

// A target that is full is passed over; one that is aside is not asked in its place, but where all others are aside too it is.
func TestFullAndAside(t *testing.T) {
	u := narrow(t, 1, 0, "http://a", "http://b", "http://c")
	u.maxFails, u.failTimeout = maxFails, time.Hour
	fails(u.targets[1])
	if got := []string{u.Pick(nil).Name, u.Pick(nil).Name}; got[0] != "a" || got[1] != "c" {
		t.Errorf("picked %q", got)
	}
	if _, err := u.Take(anybody{}, nil, nil); err != ErrFull {
		t.Errorf("all that are well are full: %v", err)
	}
	if turn, err := u.Take(anybody{}, []*Target{u.targets[0], u.targets[2]}, nil); err != nil || turn.Name != "b" {
		t.Errorf("all that are well were tried: %v, %v", turn, err)
	}
	if turn, err := u.Take(anybody{}, u.targets, nil); err != nil || turn.Target != nil {
		t.Errorf("all were tried: %v, %v", turn, err)
	}
}

// The first one that waits is the first one to get a turn; who finds the queue full does not wait.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := narrow(t, 1, 2, "http://a")
		ctx := context.Background()
		first := u.Pick(nil)
		second, third := takes(ctx, u), takes(ctx, u)
		if g := <-takes(ctx, u); g.err != ErrFull {
			t.Errorf("one too many gets %v", g)
		}
		time.Sleep(queueTime / 2)
		first.Done()
		got := <-second
		if synctest.Wait(); got.err != nil || len(third) > 0 {
			t.Fatalf("%v, and the third one gets a turn: %v", got, len(third) > 0)
		}
		fourth := takes(ctx, u)
		got.Done()
		got = <-third
		if synctest.Wait(); got.err != nil || len(fourth) > 0 {
			t.Fatalf("%v, and the fourth one gets a turn: %v", got, len(fourth) > 0)
		}
		got.Done()
		got = <-fourth
		if got.Done(); u.targets[0].InFlight() != 0 || len(u.queue.waiting) != 0 {
			t.Errorf("%d in flight, %d wait", u.targets[0].InFlight(), len(u.queue.waiting))
		}
	})
}

// Who has waited for the queue's time gets none; who leaves gives up its place, and the turn that may just have come.
func TestQueueLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, begin := narrow(t, 1, 3, "http://a"), time.Now()
		first := u.Pick(nil)
		ctx, leave := context.WithCancelCause(t.Context())
		leaves, waits := takes(ctx, u), takes(t.Context(), u)
		time.Sleep(queueTime / 2)
		leave(errBroken)
		if g := <-leaves; g.err != errBroken || g.at.Sub(begin) != queueTime/2 {
			t.Errorf("who leaves gets %v after %v", g.err, g.at.Sub(begin))
		}
		if g := <-waits; g.err != ErrFull || g.at.Sub(begin) != queueTime || len(u.queue.waiting) != 0 {
			t.Errorf("who waits gets %v after %v; %d wait", g.err, g.at.Sub(begin), len(u.queue.waiting))
		}
		first.Done()
		if g := <-takes(t.Context(), u); g.err != nil || u.targets[0].InFlight() != 1 {
			t.Errorf("got %v; %d in flight", g.err, u.targets[0].InFlight())
		}
	})
}

// Who has tried a target waits for another one, without being in the way of those behind.
func TestQueueTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := narrow(t, 1, 3, "http://a", "http://b")
		a, b := u.Pick(nil), u.Pick(nil)
		wantsB, wantsAny := takes(t.Context(), u, a.Target), takes(t.Context(), u)
		a.Done()
		if g := <-wantsAny; g.Target != a.Target {
			t.Errorf("got %v", g)
		}
		if synctest.Wait(); len(wantsB) > 0 {
			t.Error("who has tried a gets it again")
		}
		b.Done()
		if g := <-wantsB; g.Target != b.Target {
			t.Errorf("got %v", g)
		}
	})
}

// Those who stick to a target that is full have the queue to themselves: nobody else who finds room elsewhere, or nothing to wait for, is sent
// away, or waits, because of them.
func TestQueueOfOneTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := narrow(t, 1, 1, "http://a", "http://b")
		a := u.Pick(nil)
		waits := make(chan got, 1)
		go func() {
			turn, err := u.Take(anybody{}, nil, a.Target)
			waits <- got{Turn: turn, err: err}
		}()
		if synctest.Wait(); u.Waiting() != 1 {
			t.Fatalf("%d wait for a", u.Waiting())
		}
		if g := <-takes(t.Context(), u); g.err != nil || g.Name != "b" {
			t.Errorf("b has room, and another one gets %v, %v", g.Target, g.err)
		}
		begin := time.Now()
		if g := <-takes(t.Context(), u, u.targets...); g.err != nil || g.Target != nil || time.Since(begin) != 0 {
			t.Errorf("who has tried all gets %v, %v after %v", g.Target, g.err, time.Since(begin))
		}
		if g := <-takes(t.Context(), u); g.err != ErrFull {
			t.Errorf("all are full, and so is the queue: %v", g.err)
		}
		a.Done()
		if g := <-waits; g.Target != a.Target {
			t.Errorf("who waits gets %v, %v", g.Target, g.err)
		}
	})
}

// Nobody overtakes those who wait for a target whose time aside has ended meanwhile.
func TestQueueAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := narrow(t, 1, 3, "http://a", "http://b")
		u.maxFails, u.failTimeout, u.queue.timeout = maxFails, failTimeout, time.Hour
		fails(u.targets[1])
		u.Pick(nil)
		first := takes(t.Context(), u)
		time.Sleep(failTimeout)
		second := takes(t.Context(), u)
		if g := <-first; g.Name != "b" || len(second) > 0 {
			t.Errorf("the first one gets %v, and the second one a turn: %v", g.Target, len(second) > 0)
		}
		u.targets[1].Answered()
		u.targets[0].inFlight.Add(-1)
		u.mu.Lock()
		u.admit()
		u.mu.Unlock()
		<-second
	})
}

// A target that comes back takes those who wait.
func TestQueueAndHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := narrow(t, 1, 3, "http://a", "http://b")
		u.maxFails, u.failTimeout = maxFails, time.Hour
		fails(u.targets[1])
		u.Pick(nil)
		waits := takes(t.Context(), u)
		u.targets[1].Answered()
		if g := <-waits; g.err != nil || g.Name != "b" {
			t.Errorf("b is back: %v", g)
		}
	})
}

// Whatever happens at once, no target has more than it may, nobody waits while there is room, and nothing is left over.
func TestQueueAtOnce(t *testing.T) {
	const room, pickers, each = 3, 40, 300
	u := narrow(t, room, pickers, "http://a", "http://b")
	u.queue.timeout = patience
	var served atomic.Int64
	var wg sync.WaitGroup
	for i := range pickers {
		wg.Go(func() {
			for j := range each {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+j)%5 == 0 {
					go cancel()
				}
				turn, err := u.Take(within{ctx}, nil, nil)
				if err == nil {
					if n := turn.InFlight(); n > room {
						t.Errorf("%d in flight", n)
					}
					served.Add(1)
					turn.Done()
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := u.targets[0].InFlight() + u.targets[1].InFlight(); n != 0 || len(u.queue.waiting) != 0 || served.Load() < pickers*each*4/5 {
		t.Errorf("%d in flight and %d waiting at the end, %d served", n, len(u.queue.waiting), served.Load())
	}
}

// A limit costs no allocation while there is room.
func TestTakeAllocates(t *testing.T) {
	u := narrow(t, 2, 5, "http://a", "http://b")
	u.slowStart, u.budget = time.Hour, newBudget(0.2)
	if n := testing.AllocsPerRun(1000, func() {
		turn, _ := u.Take(anybody{}, nil, nil)
		turn.Done()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
