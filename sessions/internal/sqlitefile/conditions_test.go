package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// These are the four conditions of SESSION-STORE.md on which nothing is lost, each by its number.

// opensAndWrites names the file that a child of the test opens: see TestCondition1OpenUnderALock.
const opensAndWrites = "EDGE_TEST_OPENS"

// 1: opening and migrating is one at a time, by a lock on a file of its own: real processes that start at once over a file that is not
// there yet all get it, and all that they write is there. While somebody has the lock, nobody opens.
func TestCondition1OpenUnderALock(t *testing.T) {
	if path := os.Getenv(opensAndWrites); path != "" {
		f := open(t, path, counter)
		for range 20 {
			if err := add(f, true); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	for range 5 {
		path := filepath.Join(t.TempDir(), "state", "c.db")
		var children []*exec.Cmd
		for range 4 {
			c := exec.Command(os.Args[0], "-test.run=^TestCondition1OpenUnderALock$")
			c.Env = append(os.Environ(), opensAndWrites+"="+path)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, c)
		}
		for _, c := range children {
			if err := c.Wait(); err != nil {
				t.Errorf("a process that opens beside others: %v", err)
			}
		}
		if n := count(t, open(t, path, counter)); n != 80 {
			t.Errorf("counted %d, want 80", n)
		}
	}

	path := filepath.Join(t.TempDir(), "c.db")
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	opened := make(chan *File)
	go func() {
		f, err := Open(path, counter)
		if err != nil {
			t.Error(err)
		}
		opened <- f
	}()
	select {
	case <-opened:
		t.Error("it was opened under somebody else's lock")
	case <-time.After(100 * time.Millisecond): // nothing tells that somebody waits
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the database was made under somebody else's lock")
	}
	unix.Flock(int(lock.Fd()), unix.LOCK_UN)
	(<-opened).Close()
}

// 2: nothing else in the program opens a database, or its -shm: the driver is imported here alone, and the files' names are said only where
// they are given to this package, which asks the file system for their names and modes and opens none but to make it.
func TestCondition2NothingElseOpensTheDatabase(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	said := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() != ".." && strings.HasPrefix(d.Name(), ".") || path == filepath.Join(root, "bench")) { // which is a program of its own
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(lit.Value)
			for _, word := range []string{".db", "-shm", "-wal", "modernc.org/sqlite"} {
				if strings.Contains(text, word) {
					said[word] = append(said[word], name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for word, files := range map[string][]string{
		".db":                {"sessions/db.go", "sessions/users/users.go"},
		"-wal":               {"sessions/internal/sqlitefile/pace.go"},
		"modernc.org/sqlite": {"sessions/internal/sqlitefile/sqlitefile.go"},
		"-shm":               nil,
	} {
		if got := slices.Compact(slices.Sorted(slices.Values(said[word]))); !slices.Equal(got, files) {
			t.Errorf("%q is said in %v, want %v: closing any descriptor of a database drops SQLite's locks, and commits are lost without an error", word, got, files)
		}
	}

	path := filepath.Join(t.TempDir(), "c.db")
	f := open(t, path, counter)
	before := descriptors(t, path)
	if err := add(f, true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.LogSize(); err != nil {
		t.Fatal(err)
	}
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	if after := descriptors(t, path); !slices.Equal(before, after) && len(after) < len(before) {
		t.Errorf("descriptors of the database were closed: %v, then %v", before, after)
	}
}

// descriptors are this process's of the database and what belongs to it.
func descriptors(t *testing.T, path string) (fds []string) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, path) && !strings.HasSuffix(target, ".lock") {
			fds = append(fds, fd.Name()+" "+target)
		}
	}
	return fds
}

// 3: rows and statements end before the file does, so that the last close leaves neither log nor index; after every kind of use.
func TestCondition3RowsAndStatementsAreClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	f := open(t, path, append(counter[:1:1], LogSchema("log")))
	log, err := f.Follow("log")
	if err != nil {
		t.Fatal(err)
	}
	find, err := f.Prepare("SELECT n FROM c")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := note(f, "x"); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := find.QueryRow().Scan(&n); err != nil {
			t.Fatal(err)
		}
		count(t, f)
		if what, lost, err := log.Next(); len(what) != 1 || lost || err != nil {
			t.Fatal(what, lost, err)
		}
	}
	for name, pool := range map[string]*sql.DB{"readers": f.readers, "follower": f.follower, "writer": f.writer, "durable": f.durable} {
		if n := pool.Stats().InUse; n != 0 {
			t.Errorf("%s: %d connections are in use by nobody", name, n)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + "-*"); left != nil {
		t.Errorf("left after the last close: %v", left)
	}
	if left := descriptors(t, path); left != nil {
		t.Errorf("open after the last close: %v", left)
	}
}

// 4: writes have a pace, some at once and then so many a second; who may not wait that long gets its turn back to others. The size of the
// log can be seen.
func TestCondition4WritesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		began := time.Now()
		for range writesAtOnce {
			if err := p.wait(t.Context()); err != nil || time.Since(began) != 0 {
				t.Fatalf("%v after %v", err, time.Since(began))
			}
		}
		for range 5 * writesPerSecond {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("5 s of writes took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		defer cancel()
		if err := p.wait(ctx); err == nil {
			t.Error("it did not wait")
		}
		time.Sleep(time.Hour)
		began = time.Now()
		for range writesAtOnce {
			p.wait(t.Context())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("after a rest it took %v", took)
		}
	})
	f := open(t, filepath.Join(t.TempDir(), "c.db"), counter)
	began := time.Now()
	for range writesAtOnce + 300 {
		if err := add(f, false); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("%d writes took %v", writesAtOnce+300, took)
	}
	if n, err := f.LogSize(); n == 0 || n > 8<<20 || err != nil {
		t.Errorf("the log has %d bytes, %v", n, err)
	}
}

// note adds to the log.
func note(f *File, what string) error {
	return f.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO log(what) VALUES(?)", what)
		return err
	})
}

// A log is followed from its end on, in order and without a gap; who is too far behind hears that something was lost, and then goes on.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	writes := open(t, path, append(counter[:1:1], LogSchema("log")))
	follows := open(t, path, append(counter[:1:1], LogSchema("log")))
	fresh, err := follows.Follow("log")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	next := func(l *Log, want []string, wantLost bool) {
		t.Helper()
		what, lost, err := l.Next()
		if err != nil || lost != wantLost || !slices.Equal(what, want) {
			t.Errorf("%q, %v, %v; want %q, %v", what, lost, err, want, wantLost)
		}
	}
	next(fresh, nil, false)
	rung := 0
	writes.OnCommit(func() { rung++ })
	must(note(writes, "a"))
	must(note(writes, "b"))
	if rung != 2 {
		t.Errorf("rung %d times", rung)
	}
	next(fresh, []string{"a", "b"}, false)
	next(fresh, nil, false)
	late, err := follows.Follow("log")
	must(err)
	must(note(writes, "c"))
	next(late, []string{"c"}, false)

	must(writes.Write(context.Background(), func(tx *sql.Tx) error {
		for i := range Kept + 5 {
			if _, err := tx.Exec("INSERT INTO log(what) VALUES(?)", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	}))
	next(fresh, nil, true)
	must(note(writes, "d"))
	next(fresh, []string{"d"}, false)
	must(writes.Write(context.Background(), func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM log").Scan(&n); err != nil || n != Kept {
			t.Errorf("%d are kept, %v", n, err)
		}
		_, err := tx.Exec("DELETE FROM log")
		return err
	}))
	next(fresh, nil, true)
	must(note(writes, "e"))
	next(fresh, nil, true) // of an emptied log nobody knows how far it went
	must(note(writes, "f"))
	next(fresh, []string{"f"}, false)

	err = writes.Write(context.Background(), func(tx *sql.Tx) error {
		tx.Exec("INSERT INTO log(what) VALUES('never')")
		return context.Canceled
	})
	if err == nil || rung != 8 {
		t.Errorf("%v, rung %d times", err, rung)
	}
	next(fresh, nil, false)
}
