package htpasswd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"edge/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hash is what "htpasswd -nbB" prints, but at a cost.
func hash(t *testing.T, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(h), "$2a$", "$2y$", 1)
}

// load loads a file of this text.
func load(t *testing.T, text string, old *File) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(conf.File{Pos: conf.Pos{File: "edge.toml", Line: 3, Column: 4}, Path: path}, old)
}

func TestVerify(t *testing.T) {
	f, err := load(t, "# staff\n\nalice:"+hash(t, "secret", 4)+"\r\nböb:"+hash(t, "pass:word", 4)+"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, password string
		want           bool
	}{
		{"alice", "secret", true}, {"alice", "secret", true}, {"alice", "Secret", false}, {"alice", "", false}, {"Alice", "secret", false},
		{"böb", "pass:word", true}, {"böb", "pass", false}, {"bob", "secret", false}, {"", "", false}, {"# staff", "", false}, {"nobody", "secret", false},
	} {
		if got, err := f.Verify(t.Context(), c.name, c.password); got != c.want || err != nil {
			t.Errorf("%q with %q: %v, %v", c.name, c.password, got, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	good := hash(t, "x", 4)
	text := strings.Join([]string{
		"alice:" + good,
		"bob:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
		"carol:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
		"dave:rOioh6sQPm1nM", "erin:plain-secret", "nocolon", ":" + good, "alice:" + good, "f\x01:" + good, "gil:" + good[:59], "hal:" + good[:59] + "!", "ian:$2x" + good[3:],
		"jim:" + strings.Replace(good, "$04$", "$17$", 1), "kim:$2y$04$",
	}, "\n")
	_, err := load(t, text, nil)
	var list conf.Errors
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	want := map[int]string{
		2: `"bob" is hashed with MD5`, 3: `"carol" is hashed with SHA-1`, 4: `"dave" is not hashed with bcrypt`, 5: `"erin" is not hashed with bcrypt`,
		6: "no user", 7: "no user", 8: `"alice" is in the file already`, 9: "control", 10: `"gil" is not hashed with bcrypt`,
		11: `"hal" is not hashed`, 12: `"ian" is not hashed`, 13: "its cost is 17, at most 16", 14: `"kim" is not hashed`,
	}
	if len(list) != len(want) {
		t.Errorf("%d mistakes, want %d:\n%v", len(list), len(want), err)
	}
	for _, e := range list {
		if !strings.Contains(e.Msg, want[e.Pos.Line]) || filepath.Base(e.Pos.File) != "htpasswd" {
			t.Errorf("got %v, want %s", e, want[e.Pos.Line])
		}
	}
	if strings.Contains(err.Error(), "plain-secret") || strings.Contains(err.Error(), "rOioh") {
		t.Errorf("a mistake tells a secret: %v", err)
	}
	for what, text := range map[string]string{"holds no user": "# nobody\n", "is larger than": strings.Repeat("#", maxFile+1)} {
		if _, err := load(t, text, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Load(conf.File{Pos: conf.Pos{File: "edge.toml", Line: 3, Column: 4}, Path: "/nowhere"}, nil); err == nil || !strings.HasPrefix(err.Error(), "edge.toml:3:4: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// A password that was right costs bcrypt once in five minutes; one that was wrong, each time; a new hash counts at once.
func TestRemembers(t *testing.T) {
	right, other := hash(t, "secret", 4), hash(t, "other", 4)
	f, err := load(t, "alice:"+right+"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		defer func(all chan struct{}) { turns = all }(turns)
		turns = make(chan struct{}, 1)
		verify := func(password string, want bool) {
			t.Helper()
			if got, err := f.Verify(t.Context(), "alice", password); got != want || err != nil {
				t.Errorf("%q: %v, %v", password, got, err)
			}
		}
		verify("other", false)
		verify("secret", true)
		f.users["alice"].hash = []byte(other) // whoever asks bcrypt now finds another password
		time.Sleep(remembered - 1)
		verify("secret", true)
		time.Sleep(time.Nanosecond)
		verify("secret", false)
		verify("other", true)
	})
	same, err := load(t, "alice:"+right+"\n", f)
	if err != nil || same != f {
		t.Errorf("a file that has not changed is another one: %v", err)
	}
	changed, err := load(t, "alice:"+other+"\n", f)
	if err != nil || changed == f {
		t.Fatalf("a file that has changed is the same: %v", err)
	}
	if ok, _ := changed.Verify(t.Context(), "alice", "secret"); ok {
		t.Error("the old password is remembered by a file that does not have it")
	}
}

// At most so many passwords are checked at once. Who waits in vain is told, and so is who leaves.
func TestTurns(t *testing.T) {
	f, err := load(t, "alice:"+hash(t, "secret", 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		defer func(all chan struct{}) { turns = all }(turns)
		turns = make(chan struct{}, 1)
		turns <- struct{}{}
		start := time.Now()
		if _, err := f.Verify(t.Context(), "alice", "secret"); err != ErrBusy || time.Since(start) != patience {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := f.Verify(ctx, "alice", "secret"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		go func() { time.Sleep(time.Second); <-turns }()
		if ok, err := f.Verify(t.Context(), "alice", "secret"); !ok || err != nil {
			t.Errorf("when a turn was free: %v, %v", ok, err)
		}
		if len(turns) != 0 {
			t.Error("a turn was not given back")
		}
	})
}

// Of requests that come together with a password, one costs bcrypt.
func TestRemembersWhoWaits(t *testing.T) {
	f, err := load(t, "alice:"+hash(t, "secret", 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		defer func(all chan struct{}) { turns = all }(turns)
		turns = make(chan struct{}, 1)
		turns <- struct{}{}
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if ok, err := f.Verify(t.Context(), "alice", "other"); !ok || err != nil { // bcrypt would say no
					t.Errorf("%v, %v", ok, err)
				}
			})
		}
		synctest.Wait()
		f.users["alice"].right.Store(&memory{f.mac("alice", "other"), time.Now().Add(remembered)})
		<-turns
		wait.Wait()
		if len(turns) != 0 {
			t.Error("a turn was not given back")
		}
	})
}

// How long an answer takes does not tell whether there is such a user.
func TestUnknownUserTakesAsLong(t *testing.T) {
	f, err := load(t, "bob:"+hash(t, "x", 4)+"\nalice:"+hash(t, "secret", 7), nil)
	if err != nil {
		t.Fatal(err)
	}
	quickest := func(name string) time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			f.Verify(t.Context(), name, "wrong")
			best = min(best, time.Since(start))
		}
		return best
	}
	if known, unknown := quickest("alice"), quickest("nobody"); unknown < known/2 || known < unknown/2 {
		t.Errorf("a known name takes %v, an unknown one %v", known, unknown)
	}
}
