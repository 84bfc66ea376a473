package users

import (
	"fmt"
	"strings"

	"edge/sessions"
)

const maxName = 64

// Canonical is the one form of a user's name, in which it is kept, counted and compared: lower case, without spaces around it.
// ErrBadName for what is none. Only ASCII: Unicode has letters that look alike, and some that become ASCII in lower case.
func Canonical(name string) (string, error) {
	name = strings.Trim(name, " ")
	if !nameLike(name) {
		return "", sessions.ErrBadName
	}
	return strings.ToLower(name), nil
}

func nameLike(s string) bool {
	odd := func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		return !letter && !('0' <= c && c <= '9') && !strings.ContainsRune("._@-", c)
	}
	return len(s) >= 1 && len(s) <= maxName && !strings.ContainsFunc(s, odd)
}

// checkGroups lets groups through as they are written: a group is compared letter by letter.
func checkGroups(groups []string) error {
	for _, g := range groups {
		if !nameLike(g) {
			return fmt.Errorf("group %q: a group has 1 to %d of these: A-Z a-z 0-9 . _ @ -", g, maxName)
		}
	}
	return nil
}
