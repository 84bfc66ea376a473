package users

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"edge/sessions"
	"edge/username"
)

// Canonical is the one form of a user's name, in which it is kept, counted and compared: see username.Canonical. ErrBadName for what is none.
func Canonical(name string) (string, error) {
	name, err := username.Canonical(name)
	if err != nil {
		return "", sessions.ErrBadName
	}
	return name, nil
}

// canonicalGroups are names as those of users are, so that access finds them however they were typed. Each is in the list once.
func canonicalGroups(groups []string) (list []string, err error) {
	for _, g := range groups {
		name, err := username.Canonical(g)
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", g, err)
		}
		list = with(list, name)
	}
	return list, nil
}

const maxEmail = 254

var errBadEmail = errors.New("an e-mail address is like alice@example.org")

// checkEmail lets one address through as it is written, or none.
func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > maxEmail || strings.ContainsAny(email, "\"\r\n ,;<>()") {
		return errBadEmail
	}
	return nil
}
