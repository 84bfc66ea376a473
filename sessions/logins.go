package sessions

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// LoginInfo is what a person wants to know of a login. Nothing in it is secret.
type LoginInfo struct {
	ID      uuid.UUID // Identity.Session of every request below it
	User    string
	Since   time.Time // when it was proved who this is
	Seen    time.Time // about when it was last used, on any virtual host
	Expires time.Time // when it ends at the latest
	Level   Level
	Address string   // the browser's when it logged in, without port; "": not known
	Agent   string   // what the browser called itself then: short and printable, but anybody's text
	Vhosts  []string // the virtual hosts that have a session below it, by name
}

// ErrNoLogin says that there is no such login, or not any more, or that it is somebody else's.
var ErrNoLogin = errors.New("there is no such session")

// Logins lists the logins of a user that have not ended, the last used one first; "" is everybody.
func (s *Store) Logins(ctx context.Context, user string) ([]LoginInfo, error) {
	rows, err := s.db.family(ctx, user)
	if err != nil {
		return nil, err
	}
	list := []LoginInfo{}
	epochs := map[string]int64{}
	for _, l := range rows {
		current, err := s.epoch(ctx, epochs, l.User)
		if err != nil {
			return nil, err
		}
		now := s.db.now()
		if l.Epoch != current || now.Sub(l.since()) > s.lifetime || now.Sub(l.lastUse()) > s.idle {
			continue
		}
		list = append(list, l.info(s.lifetime))
	}
	slices.SortFunc(list, func(a, b LoginInfo) int {
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return list, nil
}

// epoch is the user's as of now, asked for once in a list; -1, which no session has, for one who is gone.
func (s *Store) epoch(ctx context.Context, known map[string]int64, user string) (int64, error) {
	if n, ok := known[user]; ok {
		return n, nil
	}
	u, err := s.users.Get(ctx, user)
	switch {
	case errors.Is(err, ErrNoUser):
		u.Epoch = -1
	case err != nil:
		return 0, fmt.Errorf("user of a session: %w", err)
	}
	known[user] = u.Epoch
	return u.Epoch, nil
}

// EndLogin ends a login of this user, and every session below it, for good. ErrNoLogin.
func (s *Store) EndLogin(ctx context.Context, user string, id uuid.UUID) error {
	n, err := s.db.endWhere(ctx, "id = ? AND user = ?", id[:], user)
	if err == nil && n == 0 {
		return ErrNoLogin
	}
	return err
}

// EndAnyLogin is EndLogin, whoever's it is: for an operator. ErrNoLogin.
func (s *Store) EndAnyLogin(ctx context.Context, id uuid.UUID) error {
	n, err := s.db.endWhere(ctx, "id = ?", id[:])
	if err == nil && n == 0 {
		return ErrNoLogin
	}
	return err
}

// EndAll ends every login of a user but one (uuid.Nil: all of them) and says how many. Codes that are on their way do not outlive it, nor do logins of
// which the second factor is missing.
func (s *Store) EndAll(ctx context.Context, user string, except uuid.UUID) (int, error) {
	if err := s.db.endHalves(ctx, halvesOfUser(user)); err != nil {
		return 0, err
	}
	return s.db.endWhere(ctx, "user = ? AND id <> ?", user, except[:])
}

// EndEverybody ends every login and says how many.
func (s *Store) EndEverybody(ctx context.Context) (int, error) {
	if err := s.db.endHalves(ctx, halvesOf()); err != nil {
		return 0, err
	}
	return s.db.endWhere(ctx, "true")
}

// endWhere ends the logins of a condition. What somebody asked for is done, also when who asked has left meanwhile.
func (db *DB) endWhere(ctx context.Context, condition string, args ...any) (logins int, err error) {
	err = db.file.WriteDurable(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		res, err := tx.Exec("DELETE FROM session WHERE id = parent AND "+condition, args...) // what is below goes with it, see schema
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		logins = int(n)
		return err
	})
	return logins, err
}

// family is a login with what is below it.
type family struct {
	row
	children []row
}

// family finds all logins of a user, dead or not; "" is everybody.
func (db *DB) family(ctx context.Context, user string) ([]*family, error) {
	query, args := "SELECT id, parent, abs_exp, data FROM session WHERE abs_exp > ?", []any{db.millis()}
	if user != "" {
		query, args = query+" AND user = ?", append(args, user)
	}
	rows, err := db.file.Query(ctx, query+" ORDER BY id <> parent", args...) // logins first
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*family
	byID := map[uuid.UUID]*family{}
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return nil, err
		}
		if r.id == r.parent {
			byID[r.id] = &family{row: r}
			list = append(list, byID[r.id])
		} else if f := byID[r.parent]; f != nil {
			f.children = append(f.children, r)
		}
	}
	return list, rows.Err()
}

func scanRow(rows *sql.Rows) (r row, err error) {
	var id, parent, data sql.RawBytes
	if err := rows.Scan(&id, &parent, &r.expires, &data); err != nil {
		return row{}, err
	}
	copy(r.id[:], id)
	copy(r.parent[:], parent)
	if err := json.Unmarshal(data, &r.record); err != nil {
		return row{}, fmt.Errorf("session %s: %w", r.id, err)
	}
	return r, nil
}

// lastUse is the login's or that of any session below it.
func (f *family) lastUse() time.Time {
	seen := f.Seen
	for _, c := range f.children {
		seen = max(seen, c.Seen)
	}
	return time.UnixMilli(seen)
}

func (f *family) info(lifetime time.Duration) LoginInfo {
	vhosts := []string{}
	for _, c := range f.children {
		vhosts = append(vhosts, c.Vhost)
	}
	slices.Sort(vhosts)
	expires := time.UnixMilli(f.expires)
	if end := f.since().Add(lifetime); end.Before(expires) {
		expires = end
	}
	return LoginInfo{
		ID: f.id, User: f.User, Since: f.since(), Seen: f.lastUse(), Expires: expires, Level: f.level(),
		Address: f.Address, Agent: f.Agent, Vhosts: slices.Compact(vhosts),
	}
}

const maxAgent = 200 // bytes; the longest that a common browser sends are about that long

// noteBrowser keeps what a person will know a login by.
func (r *record) noteBrowser(req *http.Request) {
	if from, err := netip.ParseAddrPort(req.RemoteAddr); err == nil { // else it came by a unix socket
		r.Address = from.Addr().Unmap().WithZone("").String()
	}
	r.Agent = cleanAgent(req.UserAgent())
}

// cleanAgent makes text that a page, a terminal and a log can show as it is.
func cleanAgent(agent string) string {
	agent = strings.ToValidUTF8(agent[:min(len(agent), maxAgent)], "")
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) { // control and bidirectional formatting characters among them
			return -1
		}
		return c
	}, agent))
}
