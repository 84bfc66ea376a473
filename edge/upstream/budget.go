package upstream

import "time"

// A budget looks at the last window seconds, and allows floor retries in each second whatever came in them.
const (
	window = 10
	floor  = 3
)

// budget bounds the requests that go out again, so that an outage is not made worse. The upstream's mu guards it. A nil one counts nothing.
type budget struct {
	share   float64 // of the requests
	begun   time.Time
	second  int64 // since begun: of the last count
	seconds [window]struct{ requests, retries int }
}

func newBudget(share float64) *budget { return &budget{share: share, begun: time.Now()} }

// turn forgets what is too long ago, and gives the place of the second that is.
func (b *budget) turn() int64 {
	now := int64(time.Since(b.begun) / time.Second)
	for b.second = max(b.second, now-window); b.second < now; {
		b.second++
		b.seconds[b.second%window].requests, b.seconds[b.second%window].retries = 0, 0
	}
	return b.second % window
}

// request counts a request that goes out for the first time.
func (b *budget) request() {
	if b != nil {
		b.seconds[b.turn()].requests++
	}
}

// spend says whether one more retry is within the budget, and counts it.
func (b *budget) spend() bool {
	now, requests, retries := b.turn(), 0, 0
	for _, s := range b.seconds {
		requests += s.requests
		retries += s.retries
	}
	if b.seconds[now].retries >= floor && float64(retries+1) > b.share*float64(requests) {
		return false
	}
	b.seconds[now].retries++
	return true
}

// Again says whether a request that a target has refused, not having executed it, may go out to it once more, and counts that. Without a budget all may.
func (u *Upstream) Again() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.budget == nil || u.budget.spend()
}

// Retry gives another target for an exchange that those of tried have got, and failed. There is none where no other one is well and has room,
// or where the budget is spent; nobody waits for one.
func (u *Upstream) Retry(tried []*Target) Turn {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.budget == nil || len(u.queue.waiting) > 0 {
		return Turn{}
	}
	t, _ := u.choose(tried, nil)
	if t == nil || u.rank(t) != readyWithRoom || t.aside || !u.budget.spend() {
		return Turn{}
	}
	return u.begin(t)
}
