package users

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/sessions"
)

// moving is a store whose clock the test moves.
func moving(t *testing.T, dir string, now *atomic.Int64) *Store {
	t.Helper()
	now.CompareAndSwap(0, today.UnixMilli())
	s, err := Open(dir, func() time.Time { return time.UnixMilli(now.Load()) })
	if err != nil {
		t.Fatal(err)
	}
	s.Cost = cheap
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *Store) mustInvite(t *testing.T, life time.Duration) string {
	t.Helper()
	code, _, err := s.Invite(ctx, Invite{Groups: []string{"Staff"}, Email: "dave@example.org", Expires: s.now().Add(life)})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestInvite(t *testing.T) {
	s := open(t, t.TempDir())
	code := s.mustInvite(t, time.Hour)
	for name, want := range map[string]error{"not a name": sessions.ErrBadName, "": sessions.ErrBadName} { // the code is still good
		if _, err := s.Redeem(ctx, code, name, "12345678"); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	if _, err := s.Redeem(ctx, code, "dave", "short"); !errors.Is(err, sessions.ErrBadPassword) {
		t.Error(err)
	}
	if err := add(s, "carol", "12345678", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Redeem(ctx, code, "carol", "12345678"); !errors.Is(err, sessions.ErrTaken) {
		t.Error(err)
	}
	u, err := s.Redeem(ctx, code, "Dave", "12345678")
	if err != nil || u.Name != "dave" || !slices.Equal(u.Groups, []string{"staff"}) || u.Email != "dave@example.org" {
		t.Errorf("%+v, %v", u, err)
	}
	if list, err := s.Invites(ctx); len(list) != 0 || err != nil {
		t.Errorf("used, but in the list: %v, %v", list, err)
	}
}

// LOGIN.md §2h 54: a code is good until it ends, once, and for one of those who come at once, in whichever process.
func TestInviteOnce(t *testing.T) {
	var now atomic.Int64
	dir := t.TempDir()
	one, two := moving(t, dir, &now), moving(t, dir, &now)
	late := one.mustInvite(t, time.Hour)
	now.Add(time.Hour.Milliseconds())
	if _, err := two.Redeem(ctx, late, "late", "12345678"); !errors.Is(err, sessions.ErrNoInvite) {
		t.Errorf("after its end: %v", err)
	}
	if list, err := one.Invites(ctx); len(list) != 0 || err != nil {
		t.Errorf("ended, but in the list: %v, %v", list, err)
	}
	code := one.mustInvite(t, time.Hour)
	var wg sync.WaitGroup
	var made atomic.Int32
	for i := range 20 {
		wg.Go(func() {
			_, err := []*Store{one, two}[i%2].Redeem(ctx, code, fmt.Sprintf("user%d", i), "12345678")
			if err == nil {
				made.Add(1)
			} else if !errors.Is(err, sessions.ErrNoInvite) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all, err := one.List(ctx); made.Load() != 1 || len(all) != 1 || err != nil {
		t.Errorf("one code made %d accounts: %v, %v", made.Load(), all, err)
	}
	if _, err := one.Redeem(ctx, code, "again", "12345678"); !errors.Is(err, sessions.ErrNoInvite) {
		t.Errorf("used twice: %v", err)
	}
}

func TestRevokeInvite(t *testing.T) {
	s := open(t, t.TempDir())
	code := s.mustInvite(t, time.Hour)
	list, err := s.Invites(ctx)
	if err != nil || len(list) != 1 || list[0].ID == "" || strings.Contains(code, list[0].ID) || !list[0].Expires.Equal(today.Add(time.Hour)) {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := s.Revoke(ctx, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(ctx, list[0].ID); !errors.Is(err, sessions.ErrNoInvite) {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := s.Redeem(ctx, code, "dave", "12345678"); !errors.Is(err, sessions.ErrNoInvite) {
		t.Errorf("revoked: %v", err)
	}
}

func TestInvitesAreBounded(t *testing.T) {
	s := open(t, t.TempDir())
	for range MaxInvites {
		s.mustInvite(t, time.Hour)
	}
	if _, _, err := s.Invite(ctx, Invite{Expires: today.Add(time.Hour)}); err == nil || !strings.Contains(err.Error(), "1000 invitations are open") {
		t.Error(err)
	}
	if _, err := s.Setup(ctx); err != nil {
		t.Errorf("the setup link is not one of them: %v", err)
	}
}

// A setup link that somebody finds in an old log is worth nothing; the next start makes a good one.
func TestSetupEnds(t *testing.T) {
	var now atomic.Int64
	s := moving(t, t.TempDir(), &now)
	old, err := s.Setup(ctx)
	ok(t, err)
	now.Add((24*time.Hour - time.Millisecond).Milliseconds())
	if i, err := s.Invited(ctx, old); err != nil || !i.Setup {
		t.Errorf("%+v, %v", i, err)
	}
	now.Add(1)
	if _, err := s.Redeem(ctx, old, "root", "12345678"); !errors.Is(err, sessions.ErrNoInvite) {
		t.Errorf("after a day: %v", err)
	}
	code, err := s.Setup(ctx)
	ok(t, err)
	if _, err := s.Redeem(ctx, code, "root", "12345678"); err != nil {
		t.Error(err)
	}
}

// The first account is made by the newest setup link alone, however it comes into being there is none afterwards, and never again.
func TestSetup(t *testing.T) {
	for how, first := range map[string]func(s *Store, code string) error{
		"by the link": func(s *Store, code string) error {
			u, err := s.Redeem(ctx, code, "root", "12345678")
			if err == nil && !slices.Equal(u.Groups, []string{AdminGroup}) {
				err = fmt.Errorf("%+v", u)
			}
			return err
		},
		"by a command": func(s *Store, code string) error { return add(s, "root", "12345678", nil) },
		"by a file": func(s *Store, code string) error {
			_, err := s.Import(ctx, "root:"+phc{cheap, make([]byte, saltLen), make([]byte, keyLen)}.String(), false)
			return err
		},
	} {
		s := open(t, t.TempDir())
		old, err := s.Setup(ctx)
		if err != nil || old == "" {
			t.Fatalf("%q, %v", old, err)
		}
		code, err := s.Setup(ctx)
		if err != nil || code == "" || code == old {
			t.Fatalf("%q, %v", code, err)
		}
		if _, err := s.Redeem(ctx, old, "root", "12345678"); !errors.Is(err, sessions.ErrNoInvite) {
			t.Errorf("an older link: %v", err)
		}
		if i, err := s.Invited(ctx, code); err != nil || !i.Setup {
			t.Errorf("%+v, %v", i, err)
		}
		if err := first(s, code); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if _, err := s.Redeem(ctx, code, "second", "12345678"); !errors.Is(err, sessions.ErrNoInvite) {
			t.Errorf("%s: the link is still good: %v", how, err)
		}
		if again, err := s.Setup(ctx); again != "" || err != nil {
			t.Errorf("%s: a new link %q, %v", how, again, err)
		}
	}
}
