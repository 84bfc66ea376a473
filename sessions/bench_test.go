package sessions

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const manyLive = 100_000

// fillStore makes so many live sessions of virtual hosts, each below a login of its own, of users of the store, and gives their Cookie fields.
func (w *world) fillStore(n int) (fields [][]byte) {
	w.t.Helper()
	return fill(w.t, w.db, w.clock.Now(), w.conf.Lifetime, wikiID, n)
}

// fill is fillStore for any DB and virtual host. The users are user0 to user999, in turns.
func fill(t testing.TB, db *DB, now time.Time, lifetime time.Duration, vhost string, n int) (fields [][]byte) {
	t.Helper()
	for len(fields) < n {
		err := db.file.Write(background, func(tx *sql.Tx) error {
			for range min(1000, n-len(fields)) {
				login, child := db.newHandle(), db.newHandle()
				user := fmt.Sprintf("user%d", len(fields)%1000)
				hash := child.hash()
				rec := record{Secret: hash[:], User: user, Epoch: 1, Level: AAL1, Login: now.UnixMilli(), Seen: now.UnixMilli()}
				top := rec
				top.Address, top.Agent = "192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
				rec.Vhost = vhost
				for i, r := range []record{top, rec} {
					data, err := json.Marshal(r)
					if err != nil {
						return err
					}
					id := [][]byte{login.id[:], child.id[:]}[i]
					if _, err := tx.Exec("INSERT INTO session(id, parent, user, abs_exp, data) VALUES(?, ?, ?, ?, ?)",
						id, login.id[:], user, now.Add(lifetime).UnixMilli(), string(data)); err != nil {
						return err
					}
				}
				fields = append(fields, fmt.Appendf(nil, "theme=dark; %s=%s", sessionCookie, child))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return fields
}

var (
	fillDir     = flag.String("fill", "", "a state directory, in which TestFill makes sessions for bench")
	fillVhost   = flag.String("fill-vhost", "", "the virtual host that they are of")
	fillNumber  = flag.Int("fill-number", manyLive, "how many they are")
	fillCookies = flag.String("fill-cookies", "", "the file to be made with their Cookie fields, one a line")
)

// TestFill is no test: bench has it prepare a state directory before edge starts, for which no program that is delivered has a command.
func TestFill(t *testing.T) {
	if *fillDir == "" {
		t.Skip("it is for bench")
	}
	db, err := Open(*fillDir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	fields := fill(t, db, time.Now(), time.Hour, *fillVhost, *fillNumber)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*fillCookies, append(bytes.Join(fields, []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLookup is what the check of a request costs at 100,000 live sessions: known already, not known yet, and of a forged cookie.
func BenchmarkLookup(b *testing.B) {
	w := newWorld(b)
	for i := range 1000 {
		w.users.all[fmt.Sprintf("user%d", i)] = account{User: User{Name: fmt.Sprintf("user%d", i), Groups: []string{"staff"}, Epoch: 1}}
	}
	w.run(w.process)
	fields := w.fillStore(manyLive)
	disk := int64(0)
	if err := w.db.file.Write(background, func(tx *sql.Tx) error { return nil }); err != nil {
		b.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(w.dir, "sessions.db"))
	for _, f := range files {
		if fi, err := os.Stat(f); err == nil {
			disk += fi.Size()
		}
	}
	ask := func(b *testing.B, field []byte, want bool) {
		if who, err := w.Lookup(field, wikiID); (who != nil) != want || err != nil {
			b.Fatal(who, err)
		}
	}
	before := heap()
	began := time.Now()
	for _, f := range fields {
		ask(b, f, true)
	}
	first, size := time.Since(began), float64(heap()-before)
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			ask(b, fields[i*7919%len(fields)], true)
			i++
		}
		b.ReportMetric(size/manyLive, "cache-B/session")
		b.ReportMetric(float64(disk)/manyLive, "disk-B/session")
		b.ReportMetric(float64(first.Nanoseconds())/manyLive, "first-ns")
	})
	b.Run("forged", func(b *testing.B) {
		b.ReportAllocs()
		field := []byte(sessionCookie + "=" + w.strange())
		for b.Loop() {
			ask(b, field, false)
		}
	})
}

// BenchmarkLogin is a whole login without the password's hash: the form, the login's session, code, and the virtual host's session.
func BenchmarkLogin(b *testing.B) {
	w := newWorld(b)
	w.run(w.process)
	for b.Loop() {
		br := w.browser()
		if p := br.logIn("https://" + wiki + "/"); p.status != 200 {
			b.Fatal(p.status)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}
