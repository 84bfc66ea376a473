package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var counter = []string{"CREATE TABLE c(n INTEGER); INSERT INTO c VALUES(0)"}

func open(t *testing.T, path string, schema []string) *File {
	t.Helper()
	f, err := Open(path, schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func count(t *testing.T, f *File) (n int) {
	t.Helper()
	rows, err := f.Query(context.Background(), "SELECT n FROM c")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() || rows.Scan(&n) != nil {
		t.Fatal("no row")
	}
	return n
}

func add(f *File, durable bool) error {
	do := f.Write
	if durable {
		do = f.WriteDurable
	}
	return do(context.Background(), func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT n FROM c").Scan(&n); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE c SET n = ?", n+1)
		return err
	})
}

// Many open one fresh file at once, and then all count: nothing is busy, nothing is lost. In one process their locks are as separate as
// between processes, because of OFD locking.
func TestOpenersAndWritersRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state?#%20", "c.db")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			f, err := Open(path, counter)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for i := range 50 {
				if err := add(f, i%2 == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, open(t, path, counter)); n != 300 {
		t.Errorf("counted %d, want 300", n)
	}
	if !sqlite.OFDLockingEnabled() {
		t.Error("no OFD locking")
	}
}

// A newer binary adds to the schema while the older one has the file open; both go on, and the older one may open it again.
func TestSchemaGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	older := open(t, path, counter)
	find, err := older.Prepare("SELECT * FROM c")
	if err != nil {
		t.Fatal(err)
	}
	newer := open(t, path, append(counter[:1:1], "ALTER TABLE c ADD COLUMN more TEXT"))
	for _, f := range []*File{older, newer, open(t, path, counter)} {
		if err := add(f, false); err != nil {
			t.Error(err)
		}
	}
	var n int
	var more sql.NullString
	if err := find.QueryRow().Scan(&n, &more); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
}

// A step that fails leaves nothing of itself.
func TestSchemaFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	if f, err := Open(path, []string{counter[0], "CREATE TABLE d(x); CREATE TABEL"}); err == nil || !strings.Contains(err.Error(), "schema step 1") {
		t.Fatalf("%v, %v", f, err)
	}
	if n := count(t, open(t, path, counter)); n != 0 {
		t.Error(n)
	}
}

func TestModesAndCleanClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	defer unix.Umask(unix.Umask(0))
	f := open(t, path, counter)
	for _, p := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", p, fi, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + "-*"); left != nil {
		t.Errorf("left after the last close: %v", left)
	}
}

func TestWriteRollsBackAndWaitsNoLonger(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "c.db"), counter)
	oops := errors.New("oops")
	err := f.Write(context.Background(), func(tx *sql.Tx) error {
		tx.Exec("UPDATE c SET n = 7")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := f.WriteDurable(ctx, func(*sql.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting with a context that is done: %v", err)
		}
		return oops
	})
	if !errors.Is(err, oops) || count(t, f) != 0 {
		t.Errorf("%v, %d", err, count(t, f))
	}
}

// The pragmas that the promises rest on.
func TestSynchronous(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "c.db"), counter)
	for _, c := range []struct {
		db   *sql.DB
		want string
	}{{f.writer, "1"}, {f.durable, "2"}} {
		var got string
		if err := c.db.QueryRow("PRAGMA synchronous").Scan(&got); err != nil || got != c.want {
			t.Errorf("synchronous is %s, want %s, %v", got, c.want, err)
		}
	}
	if _, err := f.readers.Exec("UPDATE c SET n = 1"); err == nil {
		t.Error("a reader may write")
	}
}

func TestRemoteFilesystems(t *testing.T) {
	for _, magic := range []int64{unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.AFS_SUPER_MAGIC,
		unix.AFS_FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, unix.NCP_SUPER_MAGIC, unix.V9FS_MAGIC, unix.OCFS2_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC} {
		if remote[uint32(magic)] == "" {
			t.Errorf("%#x would be accepted", magic)
		}
	}
	if err := local(t.TempDir()); err != nil {
		t.Error(err)
	}
}
