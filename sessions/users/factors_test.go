package users

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"edge/sessions"
)

// withAlice opens the same users twice, as two processes would, with one account.
func withAlice(t *testing.T) [2]*Store {
	t.Helper()
	dir := t.TempDir()
	both := [2]*Store{open(t, dir), open(t, dir)}
	if err := both[0].Add(ctx, Account{Name: "alice"}, "correct horse"); err != nil {
		t.Fatal(err)
	}
	return both
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// once runs use ten times at once, in two processes, and wants it to be done once.
func once(t *testing.T, stores [2]*Store, what string, use func(s *Store) (bool, error)) {
	t.Helper()
	var all sync.WaitGroup
	done := make(chan bool, 10)
	for i := range 10 {
		all.Go(func() {
			did, err := use(stores[i%2])
			if err != nil {
				t.Error(err)
			}
			done <- did
		})
	}
	all.Wait()
	n := 0
	for range 10 {
		if <-done {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%s: done %d times", what, n)
	}
}

// What works once, works once for all processes together.
func TestOnce(t *testing.T) {
	s := withAlice(t)
	ok(t, s[0].SetTOTP(ctx, "alice", "sealed", 100))
	once(t, s, "a step", func(s *Store) (bool, error) { return s.UseTOTP(ctx, "alice", "sealed", 101) })
	for step, seed := range map[int64]string{100: "sealed", 101: "sealed", 102: "another", 99: "sealed"} {
		if did, err := s[1].UseTOTP(ctx, "alice", seed, step); did || err != nil {
			t.Errorf("step %d of %q: %v, %v", step, seed, did, err)
		}
	}
	ok(t, s[0].SetRecovery(ctx, "alice", []string{"a", "b"}))
	once(t, s, "a recovery code", func(s *Store) (bool, error) { return s.UseRecovery(ctx, "alice", "a") })
	if f, err := s[1].Factors(ctx, "alice"); err != nil || f.Recovery != 1 || f.TOTP != "sealed" {
		t.Errorf("%+v, %v", f, err)
	}
	handle, err := s[0].PasskeyHandle(ctx, "alice")
	ok(t, err)
	again, err := s[1].PasskeyHandle(ctx, "alice")
	if err != nil || len(handle) != 32 || string(again) != string(handle) {
		t.Errorf("handles %x and %x, %v", handle, again, err)
	}
	ok(t, s[0].AddPasskey(ctx, "alice", handle, sessions.Passkey{ID: []byte("id"), Count: 7, Credential: []byte("{}")}))
	once(t, s, "a counter", func(s *Store) (bool, error) { return s.UsePasskey(ctx, []byte("id"), 8) })
	for _, count := range []uint32{8, 7, 0} {
		if did, err := s[1].UsePasskey(ctx, []byte("id"), count); did || err != nil {
			t.Errorf("counter %d after 8: %v, %v", count, did, err)
		}
	}
}

// An account has so many passkeys; another's id is refused; the last factor takes the recovery codes with it.
func TestPasskeys(t *testing.T) {
	s := withAlice(t)[0]
	handle, err := s.PasskeyHandle(ctx, "alice")
	ok(t, err)
	add := func(id string) error {
		return s.AddPasskey(ctx, "alice", handle, sessions.Passkey{ID: []byte(id), Name: "a \"key\"", Credential: []byte(`{"k":1}`)})
	}
	for i := range sessions.MaxPasskeys {
		ok(t, add(fmt.Sprint(i)))
	}
	if err := add("more"); !errors.Is(err, sessions.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	ok(t, s.RemovePasskey(ctx, "alice", []byte("0")))
	if err := add("1"); !errors.Is(err, sessions.ErrTaken) {
		t.Errorf("the same: %v", err)
	}
	ok(t, s.RemovePasskey(ctx, "bob", []byte("1")))
	f, err := s.Factors(ctx, "alice")
	if err != nil || len(f.Passkeys) != sessions.MaxPasskeys-1 || f.Passkeys[0].Name != `a "key"` || string(f.Passkeys[0].Credential) != `{"k":1}` || !f.Passkeys[0].Created.Equal(today) {
		t.Errorf("%+v, %v", f, err)
	}
	ok(t, s.SetTOTP(ctx, "alice", "sealed", 0))
	ok(t, s.SetRecovery(ctx, "alice", []string{"a"}))
	for _, p := range f.Passkeys {
		ok(t, s.RemovePasskey(ctx, "alice", p.ID))
	}
	if f, err := s.Factors(ctx, "alice"); err != nil || f.Recovery != 1 {
		t.Errorf("with an app left: %+v, %v", f, err)
	}
	ok(t, s.RemoveTOTP(ctx, "alice"))
	if f, err := s.Factors(ctx, "alice"); err != nil || f.Recovery != 0 || f.Any() {
		t.Errorf("with nothing left: %+v, %v", f, err)
	}
}

// A reset takes everything and ends the sessions; a name that is given again inherits nothing, not even what a binary that knows of no
// passkeys left behind.
func TestResetAndRemove(t *testing.T) {
	for name, gone := range map[string]func(s *Store) error{
		"reset": func(s *Store) error { return s.ResetFactors(ctx, "Alice") },
		"remove": func(s *Store) error {
			return errors.Join(s.Remove(ctx, "alice"), s.Add(ctx, Account{Name: "alice"}, "correct horse"))
		},
	} {
		s := withAlice(t)[0]
		before, err := s.Get(ctx, "alice")
		ok(t, err)
		handle, err := s.PasskeyHandle(ctx, "alice")
		ok(t, err)
		ok(t, s.AddPasskey(ctx, "alice", handle, sessions.Passkey{ID: []byte("id"), Credential: []byte("{}")}))
		ok(t, s.SetTOTP(ctx, "alice", "sealed", 0))
		ok(t, s.SetRecovery(ctx, "alice", []string{"a"}))
		ok(t, gone(s))
		after, err := s.Get(ctx, "alice")
		f, err2 := s.Factors(ctx, "alice")
		if err != nil || err2 != nil || after.Epoch <= before.Epoch || f.Any() || f.Recovery > 0 || f.Handle != nil {
			t.Errorf("%s: %+v, %+v, %v, %v", name, after, f, err, err2)
		}
		if who, err := s.PasskeyOwner(ctx, []byte("id")); !errors.Is(err, sessions.ErrNoUser) {
			t.Errorf("%s: the passkey is %q's, %v", name, who, err)
		}
		if err := s.AddPasskey(ctx, "alice", handle, sessions.Passkey{ID: []byte("id"), Credential: []byte("{}")}); !errors.Is(err, sessions.ErrNoUser) {
			t.Errorf("%s: a passkey for the account before: %v", name, err)
		}
	}
	s := withAlice(t)[0]
	if err := s.ResetFactors(ctx, "nobody"); !errors.Is(err, sessions.ErrNoUser) {
		t.Error(err)
	}
	ok(t, s.Disable(ctx, "alice"))
	if _, err := s.Factors(ctx, "alice"); !errors.Is(err, sessions.ErrNoUser) {
		t.Errorf("factors of a disabled account: %v", err)
	}
}

// A wrong recovery code costs no write.
func TestWrongRecoveryWritesNothing(t *testing.T) {
	s := withAlice(t)[0]
	ok(t, s.SetRecovery(ctx, "alice", []string{"hash"}))
	writes := 0
	s.file.OnCommit(func() { writes++ })
	if used, err := s.UseRecovery(ctx, "alice", "other"); used || err != nil || writes != 0 {
		t.Errorf("%v, %v, %d writes", used, err, writes)
	}
	if used, err := s.UseRecovery(ctx, "alice", "hash"); !used || err != nil || writes != 1 {
		t.Errorf("%v, %v, %d writes", used, err, writes)
	}
}

// A file of the binary before gains the table for passkeys, and keeps its users.
func TestOlderFile(t *testing.T) {
	dir := t.TempDir()
	all := schema
	schema = all[:len(all)-1]
	s, err := Open(dir, func() time.Time { return today })
	schema = all
	ok(t, err)
	s.Cost = cheap
	ok(t, s.Add(ctx, Account{Name: "alice"}, "correct horse"))
	newer := open(t, dir) // while the older is there
	_, err = newer.PasskeyHandle(ctx, "alice")
	ok(t, err)
	ok(t, s.SetGroups(ctx, "alice", []string{"staff"}))
	if f, err := newer.Factors(ctx, "alice"); err != nil || f.Handle == nil {
		t.Errorf("%+v, %v", f, err)
	}
	ok(t, s.Close())
}
