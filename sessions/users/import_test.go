package users

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edge/sessions"
)

func bcrypted(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return "$2y" + strings.TrimPrefix(string(hash), "$2a")
}

// An imported account is entered by its password, whose hash the first login renews without ending anything.
func TestImport(t *testing.T) {
	s := open(t, t.TempDir())
	key, err := s.hash(ctx, "battery staple")
	if err != nil {
		t.Fatal(err)
	}
	file := "# comment\n\nAlice:" + bcrypted(t, "old") + "\r\nbob:" + key + "\n"
	if n, err := s.Import(ctx, file, true); n != 2 || err != nil {
		t.Fatalf("dry run: %d, %v", n, err)
	}
	if all, _ := s.List(ctx); len(all) != 0 {
		t.Fatalf("a dry run made %v", all)
	}
	if n, err := s.Import(ctx, file, false); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	for _, wrong := range []string{"", "Old", "old "} {
		if _, err := s.Verify(ctx, "alice", wrong); !errors.Is(err, sessions.ErrBadCredentials) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	before, err := s.Get(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if u, err := s.Verify(ctx, "alice", "old"); err != nil || u.Epoch != before.Epoch {
			t.Errorf("%+v, %v", u, err)
		}
		rec, _, _ := s.read(ctx, "alice")
		if !strings.HasPrefix(rec.Hash, phcStart) || rec.Bcrypt != nil {
			t.Errorf("not renewed: %+v", rec)
		}
	}
	if _, err := s.Verify(ctx, "bob", "battery staple"); err != nil {
		t.Error(err)
	}
}

// Every wrong line is told of by its number, without what may be a password, and nothing is imported.
func TestImportWrongLines(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "carol", "12345678", nil); err != nil {
		t.Fatal(err)
	}
	good := bcrypted(t, "old")
	_, err := s.Import(ctx, strings.Join([]string{
		"alice:" + good, "secret1", "a b:" + good, "dave:secret2", "ALICE:" + good, "carol:" + good, "eve:$apr1$secret3$x", "",
		"fay:" + strings.Replace(good, "$04$", "$31$", 1), "gus:" + good + "x", "hal:$argon2id$v=19$m=8,t=1,p=1$secret4",
	}, "\n"), false)
	if err == nil {
		t.Fatal("no error")
	}
	var lines []string
	for line := range strings.Lines(err.Error()) {
		lines = append(lines, strings.SplitN(line, ":", 2)[0])
	}
	if want := []string{"line 2", "line 3", "line 4", "line 5", "line 6", "line 7", "line 9", "line 10", "line 11"}; !slices.Equal(lines, want) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	if all, _ := s.List(ctx); len(all) != 1 {
		t.Errorf("%v", all)
	}
}

// As long as one imported hash is left, all names take the work of bcrypt: none is told by it.
func TestBcryptForAll(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Import(ctx, "alice:"+bcrypted(t, "old"), false); err != nil {
		t.Fatal(err)
	}
	if err := add(s, "bob", "battery staple", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", "bob", "nobody"} {
		rec, _, _ := s.read(ctx, name)
		free := full(s)
		soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if _, err := s.checkBcrypt(soon, rec, "old"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s took no turn: %v", name, err)
		}
		cancel()
		free()
	}
	if _, err := s.Verify(ctx, "alice", "old"); err != nil {
		t.Fatal(err)
	}
	free := full(s)
	defer free()
	if _, err := s.checkBcrypt(ctx, record{}, "old"); err != nil { // waits for no turn
		t.Error(err)
	}
}

func TestGroupsAndEmail(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Add(ctx, Account{Name: "Jose\u0301", Groups: []string{"Staff", "staff"}, Email: "j@example.org"}, "12345678"); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(want string) {
		t.Helper()
		u, err := s.Get(ctx, "josé")
		if got := fmt.Sprint(u.Groups, u.Email); got != want || err != nil {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	is("[staff]j@example.org")
	must(s.EditGroups(ctx, "JOSÉ", []string{"ops", "staff"}, nil))
	is("[staff ops]j@example.org")
	must(s.EditGroups(ctx, "josé", nil, []string{"Staff", "none"}))
	is("[ops]j@example.org")
	must(s.EditGroups(ctx, "josé", nil, []string{"ops"}))
	must(s.EditGroups(ctx, "josé", []string{"a"}, nil))
	must(s.SetEmail(ctx, "josé", ""))
	is("[a]")
	for _, bad := range []string{"x", "a@b@c", "A <a@b.c>", "a@b.c\n", "a b@c.d", strings.Repeat("a", 300) + "@b.c"} {
		if err := s.SetEmail(ctx, "josé", bad); !errors.Is(err, errBadEmail) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := s.EditGroups(ctx, "nobody", []string{"a"}, nil); !errors.Is(err, sessions.ErrNoUser) {
		t.Error(err)
	}
}

// One's own password needs the current one, and ends every session that was.
func TestChangePassword(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "alice", "correct horse", []string{"staff"}); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Get(ctx, "alice")
	for _, c := range []struct {
		name, current, password string
		want                    error
	}{
		{"alice", "wrong", "battery staple", sessions.ErrBadCredentials}, {"nobody", "correct horse", "battery staple", sessions.ErrBadCredentials},
		{"alice", "correct horse", "short", sessions.ErrBadPassword},
	} {
		if _, err := s.ChangePassword(ctx, c.name, c.current, c.password); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if u, _ := s.Get(ctx, "alice"); u.Epoch != before.Epoch {
		t.Error("a change that was refused ended sessions")
	}
	after, err := s.ChangePassword(ctx, "alice", "correct horse", "battery staple")
	if err != nil || after.Epoch == before.Epoch || after.Name != "alice" || len(after.Groups) != 1 {
		t.Errorf("%+v, %v", after, err)
	}
	if _, err := s.Verify(ctx, "alice", "battery staple"); err != nil {
		t.Error(err)
	}
}
