package sessions

import (
	"database/sql"
	"encoding/json"
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
	now := w.clock.Now()
	for len(fields) < n {
		err := w.db.file.Write(background, func(tx *sql.Tx) error {
			for range min(1000, n-len(fields)) {
				login, child := w.db.newHandle(), w.db.newHandle()
				user := fmt.Sprintf("user%d", len(fields)%1000)
				hash := child.hash()
				rec := record{Secret: hash[:], User: user, Epoch: 1, Level: AAL1, Login: now.UnixMilli(), Seen: now.UnixMilli()}
				top := rec
				top.Address, top.Agent = "192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
				rec.Vhost = wikiID
				for i, r := range []record{top, rec} {
					data, err := json.Marshal(r)
					if err != nil {
						return err
					}
					id := [][]byte{login.id[:], child.id[:]}[i]
					if _, err := tx.Exec("INSERT INTO session(id, parent, user, abs_exp, data) VALUES(?, ?, ?, ?, ?)",
						id, login.id[:], user, now.Add(w.conf.Lifetime).UnixMilli(), string(data)); err != nil {
						return err
					}
				}
				fields = append(fields, fmt.Appendf(nil, "theme=dark; %s=%s", sessionCookie, child))
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return fields
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
