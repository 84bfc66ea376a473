package users

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"edge/sessions"
)

var carol = sessions.Stranger{Origin: sessions.Origin{Issuer: "https://id.test", Subject: "sub-1"}, Name: "Carol", Email: "carol@corp.test"}

// Of many first logins at the same time, in two processes, one makes the account and all find it.
func TestFirstLoginsAtOnce(t *testing.T) {
	dir := t.TempDir()
	stores := []*Store{open(t, dir), open(t, dir)}
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			if u, err := stores[i%2].Linked(ctx, carol, sessions.Terms{Create: true}); err != nil || u.Name != "carol" {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
	all.Wait()
	links, err := stores[0].Links(ctx, "carol")
	if err != nil || len(links) != 1 || links[0].Subject != "sub-1" || !links[0].Made.Equal(today.Truncate(time.Millisecond)) {
		t.Errorf("%+v, %v", links, err)
	}
	if _, err := stores[0].Verify(ctx, "carol", ""); !errors.Is(err, sessions.ErrBadCredentials) {
		t.Errorf("an account without a password: %v", err)
	}
}

// An older binary removes an account and knows nothing of its links: who is given the name then does not inherit them, nor the groups.
func TestLinkOfAnAccountBefore(t *testing.T) {
	now := today
	s, err := Open(t.TempDir(), func() time.Time { return now })
	ok(t, err)
	defer s.Close()
	s.Cost = cheap
	who := carol
	who.Groups = []string{"staff"}
	u, err := s.Linked(ctx, who, sessions.Terms{Create: true})
	ok(t, err)
	if !slices.Equal(u.Elsewhere[who.Issuer], []string{"staff"}) || len(u.Groups) != 0 {
		t.Errorf("groups %v, elsewhere %v", u.Groups, u.Elsewhere)
	}
	ok(t, s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM user WHERE name = 'carol'")
		return err
	}))
	now = now.Add(time.Second)
	ok(t, s.Add(ctx, Account{Name: "carol"}, "correct horse"))
	if u, err := s.Linked(ctx, who, sessions.Terms{}); !errors.Is(err, sessions.ErrNotLinked) {
		t.Errorf("%+v, %v", u, err)
	}
	if links, err := s.Links(ctx, "carol"); err != nil || len(links) != 0 {
		t.Errorf("%+v, %v", links, err)
	}
	if u, err := s.Get(ctx, "carol"); err != nil || len(u.Groups)+len(u.Elsewhere) != 0 {
		t.Errorf("%+v, %v", u, err)
	}
	ok(t, s.Link(ctx, "carol", who.Origin)) // a link that counts no more is in nobody's way
	if u, err := s.Linked(ctx, who, sessions.Terms{}); err != nil || u.Name != "carol" {
		t.Errorf("%+v, %v", u, err)
	}
}

// Unlink takes links, groups and sessions, of one provider or of all.
func TestUnlink(t *testing.T) {
	s := withAlice(t)[0]
	other := sessions.Stranger{Origin: sessions.Origin{Issuer: "https://other.test", Subject: "x"}, Groups: []string{"theirs"}}
	mine := carol
	mine.Groups = []string{"ours"}
	for _, who := range []sessions.Stranger{mine, other} {
		ok(t, s.Link(ctx, "alice", who.Origin))
		_, err := s.Linked(ctx, who, sessions.Terms{})
		ok(t, err)
	}
	before, err := s.Get(ctx, "alice")
	ok(t, err)
	groups := func(u sessions.User) []string {
		return append(u.Elsewhere["https://id.test"], u.Elsewhere["https://other.test"]...)
	}
	if !slices.Equal(groups(before), []string{"ours", "theirs"}) {
		t.Errorf("groups %v", before.Elsewhere)
	}
	n, err := s.Unlink(ctx, "Alice", "https://id.test")
	after, err2 := s.Get(ctx, "alice")
	if err := errors.Join(err, err2); err != nil || n != 1 || !slices.Equal(groups(after), []string{"theirs"}) || after.Epoch == before.Epoch {
		t.Errorf("%d, %+v, %v", n, after, err)
	}
	n, err = s.Unlink(context.Background(), "alice", "")
	if after, _ = s.Get(ctx, "alice"); err != nil || n != 1 || len(after.Elsewhere) != 0 {
		t.Errorf("%d, %+v, %v", n, after, err)
	}
	if _, err := s.Unlink(ctx, "nobody", ""); !errors.Is(err, sessions.ErrNoUser) {
		t.Error(err)
	}
}

// An account that came from a provider has no password until it is given one.
func TestNoPassword(t *testing.T) {
	s := withAlice(t)[0]
	u, err := s.Linked(ctx, carol, sessions.Terms{Create: true})
	alice, err2 := s.Get(ctx, "alice")
	if err := errors.Join(err, err2); err != nil || !u.NoPassword || alice.NoPassword {
		t.Errorf("carol %+v, alice %+v, %v", u, alice, err)
	}
	ok(t, s.SetPassword(ctx, "carol", "correct horse"))
	if u, err := s.Get(ctx, "carol"); err != nil || u.NoPassword {
		t.Errorf("%+v, %v", u, err)
	}
}
