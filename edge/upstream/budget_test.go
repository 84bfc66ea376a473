package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
)

// retrying is an upstream that has a budget of a fifth.
func retrying(t *testing.T, targets ...string) *Upstream {
	s := spec(targets...)
	s.MaxFails, s.FailTimeout = maxFails, failTimeout
	s.Retries = &conf.Retries{Attempts: 2, Budget: 0.2, Reset: true}
	return draft(t, nil, s)[s]
}

// asks counts n requests.
func asks(u *Upstream, n int) {
	for range n {
		u.Pick(nil).Done()
	}
}

// retries are how many of n the budget allows.
func retries(u *Upstream, n int) (allowed int) {
	for range n {
		if t := u.Retry(u.targets[:1]); t.Target != nil {
			allowed++
			t.Done()
		}
	}
	return allowed
}

// The retries are a fifth of the requests of the last ten seconds, and three in each second all the same.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := retrying(t, "http://a", "http://b")
		if n := retries(u, 10); n != 3 {
			t.Errorf("without a request: %d", n)
		}
		time.Sleep(time.Second)
		if n := retries(u, 10); n != 3 {
			t.Errorf("a second later: %d", n)
		}
		time.Sleep(10 * time.Second)
		asks(u, 500)
		if n := retries(u, 200); n != 100 {
			t.Errorf("of 500 requests: %d", n)
		}
		time.Sleep(5 * time.Second)
		asks(u, 500)
		if n := retries(u, 200); n != 100 {
			t.Errorf("of 500 more: %d", n)
		}
		time.Sleep(5 * time.Second) // the first 500, and their retries, are forgotten
		if n := retries(u, 200); n != 3 {
			t.Errorf("when all is spent: %d", n)
		}
		time.Sleep(5 * time.Second)
		asks(u, 100)
		if n := retries(u, 200); n != 17 { // with the three of five seconds ago
			t.Errorf("of 100: %d", n)
		}
		time.Sleep(time.Hour)
		if n := retries(u, 10); n != 3 {
			t.Errorf("much later: %d", n)
		}
	})
}

// A retry goes only to a target that is well and has room, and past nobody who waits.
func TestRetryTargets(t *testing.T) {
	u := retrying(t, "http://a", "http://b", "http://c")
	if got := u.Retry(u.targets[:1]); got.Name != "b" || got.InFlight() != 1 {
		t.Errorf("got %v", got)
	}
	fails(u.targets[1])
	if got := u.Retry(u.targets[:1]); got.Name != "c" {
		t.Errorf("got %v", got)
	}
	if got := u.Retry([]*Target{u.targets[0], u.targets[2]}); got.Target != nil {
		t.Errorf("a target that is aside is asked")
	}
	u.maxInFlight = 1
	if got := u.Retry(u.targets[:2]); got.Target != nil {
		t.Errorf("a target that is full is asked")
	}
	if got := u.Retry(u.targets); got.Target != nil {
		t.Errorf("a target is asked again")
	}
	if n := u.targets[1].probe; n != 0 {
		t.Errorf("the probe %d is left", n)
	}
}
