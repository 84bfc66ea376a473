package users

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/sessions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx   = context.Background()
	cheap = Cost{Memory: 8, Time: 1, Threads: 1}
	today = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, func() time.Time { return today })
	if err != nil {
		t.Fatal(err)
	}
	s.Cost = cheap
	t.Cleanup(func() { s.Close() })
	return s
}

func add(s *Store, name, password string, groups []string) error {
	return s.Add(ctx, Account{Name: name, Groups: groups}, password)
}

func TestLifeOfAnAccount(t *testing.T) {
	s := open(t, t.TempDir())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	verify := func(password string, want error) (u sessions.User) {
		t.Helper()
		u, err := s.Verify(ctx, "alice", password)
		if !errors.Is(err, want) {
			t.Errorf("verify %q: %v, want %v", password, err, want)
		}
		return u
	}
	must(add(s, "Alice", "correct horse", []string{"staff"}))
	if err := add(s, "alice", "another one", nil); !errors.Is(err, sessions.ErrTaken) {
		t.Errorf("added twice: %v", err)
	}
	first := verify("correct horse", nil)
	if first.Name != "alice" || len(first.Groups) != 1 || first.Groups[0] != "staff" {
		t.Errorf("%+v", first)
	}
	verify("wrong horse", sessions.ErrBadCredentials)

	must(s.SetGroups(ctx, "alice", []string{"admins", "staff"}))
	if u, err := s.Get(ctx, "alice"); err != nil || len(u.Groups) != 2 || u.Epoch != first.Epoch {
		t.Errorf("after SetGroups: %+v, %v", u, err)
	}
	must(s.SetPassword(ctx, "alice", "battery staple"))
	verify("correct horse", sessions.ErrBadCredentials)
	second := verify("battery staple", nil)

	must(s.Disable(ctx, "alice"))
	verify("battery staple", sessions.ErrBadCredentials)
	if _, err := s.Get(ctx, "alice"); !errors.Is(err, sessions.ErrNoUser) {
		t.Errorf("disabled: %v", err)
	}
	if all, err := s.List(ctx); err != nil || len(all) != 1 || !all[0].Disabled || !all[0].Created.Equal(today) || all[0].Name != "alice" {
		t.Errorf("%+v, %v", all, err)
	}
	must(s.Enable(ctx, "alice"))
	third := verify("battery staple", nil)

	must(s.Remove(ctx, "alice"))
	verify("battery staple", sessions.ErrBadCredentials)
	must(add(s, "alice", "somebody else", nil))
	fourth := verify("somebody else", nil)

	seen := map[int64]bool{}
	for _, u := range []sessions.User{first, second, third, fourth} {
		if seen[u.Epoch] {
			t.Errorf("epoch %d came twice: sessions would be inherited", u.Epoch)
		}
		seen[u.Epoch] = true
	}
}

func TestUnknownUsers(t *testing.T) {
	s := open(t, t.TempDir())
	for what, err := range map[string]error{
		"password": s.SetPassword(ctx, "nobody", "12345678"),
		"groups":   s.SetGroups(ctx, "nobody", nil),
		"disable":  s.Disable(ctx, "nobody"),
		"enable":   s.Enable(ctx, "nobody"),
		"remove":   s.Remove(ctx, "nobody"),
	} {
		if !errors.Is(err, sessions.ErrNoUser) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNamesPasswordsGroups(t *testing.T) {
	s := open(t, t.TempDir())
	for name, want := range map[string]error{
		"a": nil, " b ": nil, "A.b_C@d-9": nil, strings.Repeat("x", 64): nil,
		"": sessions.ErrBadName, strings.Repeat("x", 65): sessions.ErrBadName, "a b": sessions.ErrBadName, "a/b": sessions.ErrBadName,
		"a\x00": sessions.ErrBadName, "ü": nil, "аlice": sessions.ErrBadName,
	} {
		if _, err := s.Create(ctx, name, "12345678"); !errors.Is(err, want) {
			t.Errorf("name %q: %v, want %v", name, err, want)
		}
		if _, err := s.Verify(ctx, name, "12345678"); want == nil != (err == nil) {
			t.Errorf("verify %q: %v", name, err)
		}
	}
	for password, want := range map[string]error{
		"1234567": sessions.ErrBadPassword, strings.Repeat("x", 1024): nil, strings.Repeat("x", 1025): sessions.ErrBadPassword, " 8 spaces ": nil,
	} {
		if err := s.SetPassword(ctx, "a", password); !errors.Is(err, want) {
			t.Errorf("password of %d: %v, want %v", len(password), err, want)
		}
	}
	if _, err := s.Verify(ctx, "a", strings.Repeat("x", 1<<20)); !errors.Is(err, sessions.ErrBadCredentials) {
		t.Error(err)
	}
	if err := s.SetGroups(ctx, "a", []string{"ok", "not ok"}); err == nil || !strings.Contains(err.Error(), `group "not ok"`) {
		t.Error(err)
	}
}

// A login renews a hash that was made at another cost, without ending sessions.
func TestRehash(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	before, _, _ := s.read(ctx, "alice")
	s.Cost = Cost{Memory: 16, Time: 2, Threads: 1}
	u1, err := s.Verify(ctx, "alice", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	after, _, _ := s.read(ctx, "alice")
	if !strings.HasPrefix(after.Hash, "$argon2id$v=19$m=16,t=2,p=1$") || before.Hash == after.Hash {
		t.Errorf("%s, then %s", before.Hash, after.Hash)
	}
	u2, err := s.Verify(ctx, "alice", "correct horse")
	if err != nil || u1.Epoch != u2.Epoch {
		t.Errorf("%+v, %+v, %v", u1, u2, err)
	}
}

func TestParsePHC(t *testing.T) {
	good := phc{DefaultCost, make([]byte, saltLen), make([]byte, keyLen)}.String()
	if !strings.HasPrefix(good, "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$") {
		t.Error(good)
	}
	if h, ok := parsePHC(good); !ok || h.cost != DefaultCost {
		t.Errorf("%+v, %v", h, ok)
	}
	for _, bad := range []string{
		"", "$", "x", strings.TrimSuffix(good, "A"), good + "$", strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=19456000", 1), strings.Replace(good, "t=2", "t=0", 1),
		strings.Replace(good, "p=1", "p=300", 1), strings.Replace(good, "p=1", "p=1,x=1", 1), strings.Replace(good, "t=2", "t=02", 1),
	} {
		if h, ok := parsePHC(bad); ok {
			t.Errorf("%s: %+v", bad, h)
		}
	}
}

// A hash that cannot be read is nobody's password.
func TestDamagedHash(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{"", "plain", "correct horse"} {
		if err := s.set(ctx, "alice", "$.hash", hash, false); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(ctx, "alice", "correct horse"); !errors.Is(err, sessions.ErrBadCredentials) {
			t.Errorf("%q: %v", hash, err)
		}
	}
}

// LOGIN.md §2h 38: unknown and disabled users take the same way as known ones; BenchmarkVerify measures it.
func TestUnknownUserTakesASlot(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Disable(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	free := full(s)
	defer free()
	for _, name := range []string{"alice", "nobody", "Not A Name"} {
		soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if _, err := s.Verify(soon, name, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s was answered without hashing: %v", name, err)
		}
		cancel()
	}
}

// What one process changes, the other sees at its next call.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), open(t, dir)
	if err := add(one, "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	before, err := two.Get(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := two.SetPassword(ctx, "alice", "battery staple"); err != nil {
		t.Fatal(err)
	}
	if after, err := one.Get(ctx, "alice"); err != nil || after.Epoch == before.Epoch {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestDown(t *testing.T) {
	s := open(t, t.TempDir())
	s.Close()
	_, err1 := s.Get(ctx, "alice")
	_, err2 := s.Verify(ctx, "alice", "correct horse")
	for _, err := range []error{err1, err2} {
		if err == nil || errors.Is(err, sessions.ErrNoUser) || errors.Is(err, sessions.ErrBadCredentials) {
			t.Errorf("closed: %v", err)
		}
	}
}

// LOGIN.md §2h 38: known and unknown users at the default cost, in turns; their medians must be alike.
func BenchmarkVerify(b *testing.B) {
	s, err := Open(b.TempDir(), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := add(s, "alice", "correct horse", nil); err != nil {
		b.Fatal(err)
	}
	names, took := []string{"alice", "nobody"}, [2][]time.Duration{}
	for b.Loop() {
		for i, name := range names {
			start := time.Now()
			s.Verify(ctx, name, "wrong")
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i, name := range names {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds()), "µs/"+name)
	}
}
