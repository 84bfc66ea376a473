package users

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	bcryptLen     = 60
	maxBcryptCost = 14 // about a second of a processor
)

// bcryptCost says what checking an imported hash costs. The error never holds what stands there: it may be a password.
func bcryptCost(hash string) (int, error) {
	if !strings.HasPrefix(hash, "$2y$") && !strings.HasPrefix(hash, "$2b$") && !strings.HasPrefix(hash, "$2a$") || len(hash) != bcryptLen {
		return 0, errors.New(`neither bcrypt ("htpasswd -B") nor argon2id`)
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || cost > maxBcryptCost {
		return 0, fmt.Errorf("a bcrypt hash must have a cost of at most %d", maxBcryptCost)
	}
	return cost, nil
}

// checkBcrypt compares a password with an imported hash. For whom has none it takes as long as for who has the dearest one; while there is
// none at all, no time.
func (s *Store) checkBcrypt(ctx context.Context, rec record, password string) (good bool, err error) {
	var most sql.NullInt64
	if err := s.slow.QueryRowContext(ctx).Scan(&most); err != nil || !most.Valid {
		return false, err
	}
	err = s.inTurn(ctx, func() {
		left := int64(1) << most.Int64 // rounds
		if rec.Bcrypt != nil {
			good = bcrypt.CompareHashAndPassword([]byte(rec.Hash), []byte(password)) == nil
			left -= 1 << *rec.Bcrypt
		}
		for cost := int64(bcrypt.MinCost); cost <= most.Int64; cost++ { // the binary digits of what is left
			if left>>cost&1 == 1 {
				bcrypt.CompareHashAndPassword(fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", bcryptLen-7)), []byte(password))
			}
		}
	})
	return good, err
}
