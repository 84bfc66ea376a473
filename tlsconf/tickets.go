package tlsconf

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"edge/statefile"
)

// A key encrypts for a day and decrypts for two more. Clients may keep a TLS 1.3 ticket for seven days, and one that comes back after
// its key is gone costs a full handshake. To keep the key for longer could cost more: who steals it can take the server's place
// towards the clients that hold its tickets.
const (
	rotateAfter = 24 * time.Hour
	keepFor     = 72 * time.Hour
)

// Tickets are the keys of TLS session tickets, shared by all processes that have one state directory.
type Tickets struct {
	Keys     [][32]byte // the first encrypts, all decrypt; at least one
	RotateAt time.Time  // when another LoadTickets would put a new key in front
	Warning  string     // why the keys in the file were thrown away; or ""
}

// LoadTickets gives the keys in stateDir/tickets, made if there are none, with a new one in front if the newest is a day old.
//
// A damaged file is replaced, and Warning says so: it costs clients a full handshake and no more. A file that others can read or that
// another user owns is an error: someone else may know its keys, or have chosen them.
func LoadTickets(stateDir string, now time.Time) (*Tickets, error) {
	if err := statefile.Dir(stateDir); err != nil {
		return nil, err
	}
	path := TicketFile(stateDir)
	unlock, err := statefile.Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	tickets, err := loadTickets(path, now)
	if err != nil {
		return nil, fmt.Errorf("session ticket keys: %w", err)
	}
	return tickets, nil
}

// TicketFile is where the keys lie.
func TicketFile(stateDir string) string { return filepath.Join(stateDir, "tickets") }

// loadTickets is LoadTickets under the lock.
func loadTickets(path string, now time.Time) (*Tickets, error) {
	data, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	keys, damage := parseKeys(data)
	keys, changed := rotate(keys, now)
	if changed {
		if err := statefile.Write(path, formatKeys(keys)); err != nil {
			return nil, err
		}
	}
	t := &Tickets{RotateAt: keys[0].made.Add(rotateAfter)}
	for _, key := range keys {
		t.Keys = append(t.Keys, key.bytes)
	}
	if damage != nil {
		t.Warning = fmt.Sprintf("%s was damaged (%v) and has been made anew: clients do a full handshake once", path, damage)
	}
	return t, nil
}

// rotate drops the keys that are too old, and those from the future, which a clock that was set back would keep in front for as long;
// and sees to it that the first is not older than a day.
func rotate(keys []key, now time.Time) (rotated []key, changed bool) {
	rotated = slices.DeleteFunc(slices.Clone(keys), func(k key) bool {
		return now.Sub(k.made) >= keepFor || k.made.After(now.Add(time.Minute))
	})
	if len(rotated) == 0 || now.Sub(rotated[0].made) >= rotateAfter {
		rotated = slices.Insert(rotated, 0, newKey(now))
	}
	return rotated, !slices.Equal(keys, rotated)
}

func newKey(now time.Time) key {
	k := key{made: now.UTC().Truncate(time.Second)}
	rand.Read(k.bytes[:]) // never fails
	return k
}
