package users

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"

	"edge/sessions"
)

// Cost is what one argon2id takes.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost is the minimum of the OWASP Password Storage Cheat Sheet: RFC 9106's second recommendation (64 MiB, 3 passes) would let a
// few people who try to log in take a small machine's memory and both of its cores.
var DefaultCost = Cost{Memory: 19 * 1024, Time: 2, Threads: 1}

// maxCost bounds what a stored hash may ask for.
var maxCost = Cost{Memory: 256 * 1024, Time: 16, Threads: 16}

const (
	minPassword = 8    // NIST SP 800-63B
	maxPassword = 1024 // bytes; long passphrases are welcome, floods are not

	saltLen = 16
	keyLen  = 32
)

// hash makes the text that is kept of a new password: ErrBadPassword, ErrBusy.
func (s *Store) hash(ctx context.Context, password string) (string, error) {
	if len(password) < minPassword || len(password) > maxPassword {
		return "", sessions.ErrBadPassword
	}
	return s.rehash(ctx, password)
}

// rehash is hash for a password that was chosen under other rules.
func (s *Store) rehash(ctx context.Context, password string) (string, error) {
	h := phc{cost: s.Cost, salt: make([]byte, saltLen)}
	rand.Read(h.salt)
	var err error
	h.key, err = s.derive(ctx, h, password)
	return h.String(), err
}

// check compares a password with a user's hash. Without one, or with a damaged one, it does the work all the same, and says no: how long the
// answer takes must not tell which users there are. For the same reason bcrypt runs for everybody as long as one imported hash is left.
func (s *Store) check(ctx context.Context, rec record, password string) (good bool, err error) {
	h, known := parsePHC(rec.Hash)
	if !known {
		h, _ = parsePHC(s.decoy())
	}
	legacy, err := s.checkBcrypt(ctx, rec, password)
	if err != nil {
		return false, err
	}
	key, err := s.derive(ctx, h, password)
	return known && subtle.ConstantTimeCompare(key, h.key) == 1 || legacy, err
}

// derive runs argon2id when it is its turn, so that a flood of logins takes no more memory than maxHashing of them.
func (s *Store) derive(ctx context.Context, h phc, password string) (key []byte, err error) {
	err = s.inTurn(ctx, func() { key = s.argon2id([]byte(password), h.salt, h.cost.Time, h.cost.Memory, h.cost.Threads, keyLen) })
	return key, err
}

// inTurn runs work when it is its turn: ErrBusy, at once where too many wait already.
func (s *Store) inTurn(ctx context.Context, work func()) error {
	if err := s.turns.take(ctx); err != nil {
		return err
	}
	defer s.turns.done()
	work()
	return nil
}

// renew replaces the hash of a password that has just proved right if it was made at another cost, or imported. It does not end sessions,
// gives way to a change of the password meanwhile, and may fail: the old hash still works.
func (s *Store) renew(ctx context.Context, name string, rec record, password string) {
	if h, ok := parsePHC(rec.Hash); ok && h.cost == s.Cost {
		return
	}
	hash, err := s.rehash(ctx, password)
	if err == nil {
		err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error { return setHash(tx, name, hash, &rec.Hash, nil) })
	}
	if err != nil {
		slog.Warn("password hash not renewed", "user", name, "error", err)
	}
}

// phc is a hash in the PHC string format: $argon2id$v=19$m=19456,t=2,p=1$salt$key
type phc struct {
	cost      Cost
	salt, key []byte
}

const phcStart = "$argon2id$v=19$"

func (h phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sm=%d,t=%d,p=%d$%s$%s", phcStart, h.cost.Memory, h.cost.Time, h.cost.Threads, b64(h.salt), b64(h.key))
}

func parsePHC(text string) (h phc, ok bool) {
	rest, ok := strings.CutPrefix(text, phcStart)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 3 {
		return phc{}, false
	}
	c := &h.cost
	if _, err := fmt.Sscanf(parts[0], "m=%d,t=%d,p=%d", &c.Memory, &c.Time, &c.Threads); err != nil || !c.sane() {
		return phc{}, false
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[1])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[2])
	return h, err1 == nil && err2 == nil && len(h.salt) >= 8 && len(h.key) == keyLen && h.String() == text
}

func (c Cost) sane() bool {
	return c.Memory >= 8 && c.Memory <= maxCost.Memory && c.Time >= 1 && c.Time <= maxCost.Time && c.Threads >= 1 && c.Threads <= maxCost.Threads
}
