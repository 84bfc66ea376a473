package users

import (
	"database/sql"
	"slices"
	"testing"
)

// Every change of an account is told to who follows, whatever statement of whatever process made it; at once to this process.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	here, there := open(t, dir), open(t, dir)
	rung := 0
	next, err := here.Follow(func() { rung++ })
	if err != nil {
		t.Fatal(err)
	}
	far, err := there.Follow(func() { t.Error("another process's change rang") })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"add", func() error { return here.Add(ctx, Account{Name: "alice"}, "correct horse") }},
		{"groups", func() error { return here.SetGroups(ctx, "alice", []string{"staff"}) }},
		{"password", func() error { return here.SetPassword(ctx, "alice", "battery staple") }},
		{"disable", func() error { return here.Disable(ctx, "alice") }},
		{"enable", func() error { return here.Enable(ctx, "alice") }},
		{"epoch alone", func() error { return here.file.WriteDurable(ctx, func(tx *sql.Tx) error { return bump(tx, "alice") }) }},
		{"a newer binary's field", func() error {
			return here.file.Write(ctx, func(tx *sql.Tx) error {
				_, err := tx.Exec("UPDATE user SET data = json_set(data, '$.more', 1)")
				return err
			})
		}},
		{"remove", func() error { return here.Remove(ctx, "alice") }},
	} {
		before := rung
		if err := c.do(); err != nil {
			t.Fatal(c.what, err)
		}
		if rung != before+1 {
			t.Errorf("%s: rung %d times", c.what, rung-before)
		}
		for _, next := range []func() ([]string, bool, error){next, far} {
			names, lost, err := next()
			if names = slices.Compact(names); !slices.Equal(names, []string{"alice"}) || lost || err != nil {
				t.Errorf("%s: %q, %v, %v", c.what, names, lost, err)
			}
		}
	}
}
