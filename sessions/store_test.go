package sessions

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/sessions"
)

// What Save wrote in a page is what Lookup finds.
func TestSaveThenLookup(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "https://"+loginHost, nil)
	session, err := w.New(r, ssoCookie)
	if err != nil || !session.IsNew || session.ID != "" {
		t.Fatalf("%+v, %v", session, err)
	}
	w.login(session, w.users.all["alice"].User, AAL1, w.clock.Now())
	if err := w.Save(r, rec, session); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", strings.Split(rec.Header().Get("Set-Cookie"), ";")[0])
	l, err := w.current(context.Background(), cookieField(r), ssoCookie, "")
	if err != nil || l == nil || l.id.String() != session.ID || w.identity(l).User != "alice" || !w.identity(l).Since.Equal(w.clock.Now()) {
		t.Errorf("%+v, %v", l, err)
	}
}

// The values of a gorilla session are kept, and what a newer binary added beside them survives.
func TestValues(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	r := httptest.NewRequest("GET", "https://"+loginHost, nil)
	r.Header.Set("Cookie", ssoCookie+"="+b.jar[loginHost][ssoCookie])
	session, err := w.Get(r, ssoCookie)
	if again, _ := w.Get(r, ssoCookie); err != nil || session.IsNew || again != session {
		t.Fatalf("%+v, %v", session, err)
	}
	w.exec("UPDATE session SET data = json_set(data, '$.aal', 2)")
	session.Values["theme"] = "dark"
	if err := gorilla.Save(r, httptest.NewRecorder()); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(2 * time.Hour)
	session, err = w.New(r, ssoCookie)
	if err != nil || session.Values["theme"] != "dark" {
		t.Errorf("%+v, %v", session.Values, err)
	}
	if err := w.db.writeSeen(context.Background()); err != nil {
		t.Fatal(err)
	}
	rows, err := w.db.file.Query(context.Background(), "SELECT data FROM session WHERE json_extract(data, '$.aal') = 2 AND data LIKE '%dark%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Error("a field of a newer binary is lost")
	}
	if err := w.Save(r, httptest.NewRecorder(), session); err != nil {
		t.Error(err)
	}
}

// New is never nil, and nobody's session is not kept.
func TestAnonymous(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "https://"+loginHost, nil)
	r.Header.Set("Cookie", ssoCookie+"="+w.db.newHandle().String())
	session, err := w.New(r, ssoCookie)
	if err != nil || !session.IsNew || session.ID != "" {
		t.Errorf("%+v, %v", session, err)
	}
	session.Values["a"] = "b"
	if err := w.Save(r, httptest.NewRecorder(), session); !errors.Is(err, errAnonymous) {
		t.Errorf("saved: %v", err)
	}
	w.db.Close()
	if session, err = w.New(r, ssoCookie); session == nil || err == nil {
		t.Errorf("store down: %v, %v", session, err)
	}
}

// Neither a secret nor a code can be read from the files.
func TestNoSecretOnDisk(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	code := strings.Split(strings.Split(b.callback("https://"+shop+"/"), "code=")[1], "&")[0]
	b.get("https://" + wiki + "/")
	secrets := []string{code}
	for _, cookie := range []string{b.jar[wiki][sessionCookie], b.jar[loginHost][ssoCookie]} {
		h, ok := parseHandle([]byte(cookie))
		if !ok {
			t.Fatal(cookie)
		}
		secrets = append(secrets, cookie[37:], string(h.secret[:]))
	}
	w.db.Close()
	files, _ := filepath.Glob(filepath.Join(w.dir, "*"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if strings.Contains(string(data), s) {
				t.Errorf("%s holds a secret", f)
			}
		}
		if fi, _ := os.Stat(f); fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f, fi.Mode())
		}
	}
}

// Run ends with its context, and writes what is still to be written.
func TestRun(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.db.Run(ctx) }()
	w.clock.pass(11 * time.Hour)
	if !w.alive(b) {
		t.Error("not alive")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.clock.pass(11 * time.Hour)
	if !w.alive(b) {
		t.Error("the last use was not written")
	}
}

// Sessions survive the end of the process, and the key with them.
func TestReopen(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	address := b.callback("https://" + shop + "/z")
	w.db.Close()
	b.server = w.start()
	b.sees(b.get("https://"+wiki+"/"), "alice at /")
	b.sees(b.get(address), "alice at /z")
}

func TestDamagedKey(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "login.key"), []byte("short"), 0o600)
	if db, err := Open(dir, time.Now); err == nil || !strings.Contains(err.Error(), "login.key has 5 bytes") {
		t.Errorf("%v, %v", db, err)
	}
}

// A sealed value opens for its purpose and place only.
func TestSealer(t *testing.T) {
	root := make([]byte, rootLen)
	flows, _ := newSealer(root, "flow")
	blobs, _ := newSealer(root, "blob")
	text, err := flows.seal("here", "hello")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if !flows.open("here", text, &got) || got != "hello" {
		t.Errorf("%q", got)
	}
	if blobs.open("here", text, &got) || flows.open("there", text, &got) {
		t.Error("opened for another purpose or place")
	}
	for i := range len(text) {
		damaged := []byte(text)
		damaged[i] ^= 4
		if flows.open("here", string(damaged), &got) || flows.open("here", text[:i], &got) {
			t.Errorf("opened with byte %d damaged or missing", i)
		}
	}
}
