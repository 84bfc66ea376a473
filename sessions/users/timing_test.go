package users

import (
	"cmp"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge/sessions"
)

var timing = flag.Bool("timing", false, "compare the times of known and unknown users over 5 runs of 1000 each")

// guessed are kinds of accounts, and a password that lets nobody in. The first is what the others are compared with.
var guessed = []struct{ kind, password string }{
	{"known", "wrong horse"},
	{"nobod", "wrong horse"},
	{"disab", "wrong horse"},
	{"right", "horse right"}, // disabled, and the right password
	{"elsew", "wrong horse"}, // comes by a provider, and has no password
}

// nameOf is a kind's name for one try. Those of one try stand together in every index, so that none is nearer to what was just read.
func nameOf(run, i, kind int) string { return fmt.Sprintf("%d%05d-%s", run, i, guessed[kind].kind) }

// fillForTiming makes an account of each kind for each try, but of those that nobody has.
func fillForTiming(t *testing.T, s *Store, runs, each int) {
	t.Helper()
	hash, err := s.hash(ctx, "horse right")
	if err != nil {
		t.Fatal(err)
	}
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		for n := range runs * each {
			for k, g := range guessed {
				rec := record{Hash: hash, Groups: []string{"staff"}, Disabled: g.kind == "disab" || g.kind == "right", Created: today.UnixMilli()}
				if g.kind == "elsew" {
					rec.Hash = ""
				}
				if err := insert(tx, nameOf(n/each, n%each, k), rec); g.kind != "nobod" && err != nil {
					return err
				}
			}
		}
		_, err := tx.Exec("DELETE FROM user WHERE name LIKE '%-nobod'")
		_, err2 := tx.Exec("DELETE FROM epoch WHERE name LIKE '%-nobod'")
		return cmp.Or(err, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// LOGIN.md §2h 38: whatever a name is, and is refused for, the answer to POST /login takes the same time: of each run the median of the ratios is within 5 %,
// at the cost of real passwords. So that the hash hides nothing, all that is beside it is timed without it as well, and may differ by some microseconds.
//
// What is timed is the whole answer, in this process, where no network adds noise. The delays of LOGIN.md's "Guessing" are none of it, since they would tell
// nothing of a name that was never tried: each try is of a name and from an address that were not seen before. With -timing it is 5 runs of 1000, and the
// figures are logged; else a small one that only a gross difference fails.
func TestTiming(t *testing.T) {
	log := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(func() { slog.SetDefault(log) })
	t.Run("beside the hash", func(t *testing.T) {
		runs, each, most := 1, 200, 2*time.Millisecond
		if *timing {
			runs, each, most = 5, 1000, 3*time.Microsecond
		}
		timeLogins(t, runs, each, func(s *Store) {
			s.argon2id = func(password, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte {
				return append(password, make([]byte, keyLen)...)[:keyLen]
			}
		}, func(_ float64, off time.Duration) bool { return off.Abs() <= most })
	})
	t.Run("with the hash", func(t *testing.T) {
		runs, each, most := 1, 8, 0.9
		if *timing {
			runs, each, most = 5, 1000, 0.05
		}
		timeLogins(t, runs, each, func(s *Store) { s.Cost = DefaultCost }, func(off float64, _ time.Duration) bool { return -most <= off && off <= most })
	})
}

// timeLogins times tries of all kinds in turns, in an order that is drawn for each turn: else one may always come after another, or when the garbage collector does.
func timeLogins(t *testing.T, runs, each int, set func(*Store), within func(ratio float64, off time.Duration) bool) {
	s := open(t, t.TempDir())
	set(s)
	fillForTiming(t, s, runs, each)
	audit, err := sessions.OpenAudit(filepath.Join(t.TempDir(), "audit"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { audit.Close() })
	for run := range runs {
		p := newPages(t, s)
		p.service.Audit = audit
		took, worked := make([][]time.Duration, len(guessed)), make([][]time.Duration, len(guessed))
		for i := range each {
			for _, k := range rand.Perm(len(guessed)) {
				r := loginRequest(nameOf(run, i, k), guessed[k].password, fmt.Sprintf("[2001:db8:%x:%x::1]:1", i, k))
				w := httptest.NewRecorder()
				start, before := time.Now(), cpu(t)
				p.http.ServeHTTP(w, r)
				took[k] = append(took[k], time.Since(start))
				worked[k] = append(worked[k], cpu(t)-before)
				if w.Code != http.StatusForbidden {
					t.Fatalf("%s: %d %s", nameOf(run, i, k), w.Code, w.Body)
				}
			}
		}
		var line strings.Builder
		for k, g := range guessed {
			ratio, off := apart(took[k], took[0])
			work, _ := apart(worked[k], worked[0])
			fmt.Fprintf(&line, "  %s %v (%+.2f %%, %+.1f µs, of CPU time %+.1f %%)", g.kind, median(took[k]), ratio*100, float64(off)/1e3, work*100)
			if !within(ratio, off) {
				t.Errorf("run %d: %s takes %+.1f %%, %v", run, g.kind, ratio*100, off)
			}
		}
		t.Logf("run %d:%s", run, &line)
	}
}

// apart is by how much one kind takes longer than another, as the median of ratios and that of differences. Neighbours in time are compared: what else the
// machine does changes from one moment to the next.
func apart(of, than []time.Duration) (ratio float64, off time.Duration) {
	ratios, offs := make([]float64, len(of)), make([]time.Duration, len(of))
	for i := range of {
		ratios[i], offs[i] = float64(of[i])/float64(max(than[i], 1)), of[i]-than[i]
	}
	return median(ratios) - 1, median(offs)
}

func median[N cmp.Ordered](list []N) N {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// cpu is the processor time that this process has used: what other processes do is not in it, which tells a difference in work from a busy machine.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
