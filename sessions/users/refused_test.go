package users

import (
	"errors"
	"slices"
	"testing"

	"edge/sessions"
)

// Whom an administrator has unlinked, or whose account was removed, does not come back by himself: not by his e-mail address, not by a new account,
// not through the account page of another.
func TestRefusedElsewhere(t *testing.T) {
	all := sessions.Terms{ByEmail: true, Create: true}
	for name, end := range map[string]func(s *Store) error{
		"unlink":          func(s *Store) error { _, err := s.Unlink(ctx, "carol", ""); return err },
		"unlink from one": func(s *Store) error { _, err := s.Unlink(ctx, "carol", carol.Issuer); return err },
		"remove":          func(s *Store) error { return s.Remove(ctx, "carol") },
	} {
		t.Run(name, func(t *testing.T) {
			s := withAlice(t)[0]
			_, err := s.Linked(ctx, carol, all)
			ok(t, err)
			ok(t, end(s))
			if u, err := s.Linked(ctx, carol, all); !errors.Is(err, sessions.ErrNotAllowed) {
				t.Errorf("%+v, %v", u, err)
			}
			if err := s.Link(ctx, "alice", carol.Origin); !errors.Is(err, sessions.ErrNotAllowed) {
				t.Error(err)
			}
			if links, err := s.Links(ctx, "alice"); err != nil || len(links) != 0 {
				t.Errorf("%+v, %v", links, err)
			}
			other := carol
			other.Subject, other.Name, other.Email = "sub-2", "dave", "dave@corp.test"
			if u, err := s.Linked(ctx, other, all); err != nil || u.Name != "dave" {
				t.Errorf("another one: %+v, %v", u, err)
			}
			ok(t, s.Readmit(ctx, "alice", carol.Origin))
			if u, err := s.Linked(ctx, carol, all); err != nil || u.Name != "alice" {
				t.Errorf("let in again: %+v, %v", u, err)
			}
			if err := s.Readmit(ctx, "dave", carol.Origin); !errors.Is(err, sessions.ErrLinked) {
				t.Error(err)
			}
		})
	}
}

// The list tells where groups are from.
func TestListElsewhere(t *testing.T) {
	s := withAlice(t)[0]
	who := carol
	who.Groups = []string{"Ops"}
	_, err := s.Linked(ctx, who, sessions.Terms{Create: true})
	ok(t, err)
	ok(t, s.SetGroups(ctx, "carol", []string{"staff"}))
	list, err := s.List(ctx)
	if err != nil || len(list) != 2 || !slices.Equal(list[1].Groups, []string{"staff"}) || !slices.Equal(list[1].Elsewhere[carol.Issuer], []string{"ops"}) {
		t.Errorf("%+v, %v", list, err)
	}
	if of, err := s.Elsewhere(ctx, "Carol"); err != nil || !slices.Equal(of[carol.Issuer], []string{"ops"}) {
		t.Errorf("%v, %v", of, err)
	}
}
