package users

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"edge/sessions"
)

// MaxImport is how large a file Import takes, in bytes.
const MaxImport = 16 << 20

// Import makes accounts of the lines of an htpasswd file, NAME:HASH, with hashes of bcrypt or argon2id: all of them, or none. The error has one
// line for each line of the file that is wrong, and names it. A dry run changes nothing, and reports the same. It says how many there are.
func (s *Store) Import(ctx context.Context, text string, dry bool) (count int, err error) {
	made, lines, wrong := map[string]record{}, map[string]int{}, []error(nil)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, rec, err := s.importLine(line)
		if err == nil && lines[name] != 0 {
			err = fmt.Errorf("%q is the name of line %d as well", name, lines[name])
		}
		if err == nil {
			err = s.free(ctx, name)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		made[name], lines[name] = rec, n
	}
	if wrong != nil || dry || len(made) == 0 {
		return len(made), errors.Join(wrong...)
	}
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		for name, rec := range made {
			if err := insert(tx, name, rec); err != nil {
				return fmt.Errorf("line %d: %w", lines[name], err)
			}
		}
		return nil
	})
	return len(made), err
}

// importLine never says what stands where a hash should.
func (s *Store) importLine(line string) (name string, rec record, err error) {
	typed, hash, ok := strings.Cut(line, ":")
	if !ok {
		return "", rec, errors.New("is no user: a line is NAME:HASH")
	}
	name, err = Canonical(typed)
	if err != nil {
		return "", rec, fmt.Errorf("%q: %w", typed, err)
	}
	rec = record{Hash: hash, Groups: []string{}, Created: s.now().UnixMilli()}
	if _, ok := parsePHC(hash); ok {
		return name, rec, nil
	}
	cost, err := bcryptCost(hash)
	rec.Bcrypt = &cost
	if err != nil {
		return "", rec, fmt.Errorf("%q: %w", typed, err)
	}
	return name, rec, nil
}

// free is ErrTaken for a name that an account has.
func (s *Store) free(ctx context.Context, name string) error {
	_, _, err := s.read(ctx, name)
	switch {
	case errors.Is(err, sessions.ErrNoUser):
		return nil
	case err == nil:
		return fmt.Errorf("%q: %w", name, sessions.ErrTaken)
	}
	return err
}
