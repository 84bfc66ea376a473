package guard

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"edge/edge/wire"
)

// Passwords say whether a password is a user's. A *htpasswd.File is one.
type Passwords interface {
	Verify(ctx context.Context, name, password string) (bool, error)
}

// Basic is who may pass with a name and a password, RFC 7617.
type Basic struct {
	Users Passwords
	Realm string // without quotes and backslashes
}

// Pass says whether x may pass, and then has written into it who asks; else x has been answered.
func (b *Basic) Pass(x *wire.Exchange) bool {
	name, password, ok := credentials(x)
	if !ok {
		b.challenge(x)
		return false
	}
	right, err := b.Users.Verify(x.Context(), name, password)
	switch {
	case err != nil:
		x.Record.Err = err
		wire.ReplyText(x, http.StatusServiceUnavailable, "Too many people are logging in. Please try again in a moment.", field("retry-after", "5"))
		return false
	case !right:
		x.Record.Err = errPassword
		b.challenge(x)
		return false
	}
	x.Record.User = name
	if !stays(x) {
		return false
	}
	x.User = name
	x.KeepPrivate()
	return true
}

var errPassword = errors.New("a wrong name or password")

func (b *Basic) challenge(x *wire.Exchange) {
	wire.ReplyText(x, http.StatusUnauthorized, "Log in first.",
		field("www-authenticate", `Basic realm="`+b.Realm+`", charset="UTF-8"`), field("cache-control", "no-store"))
}

// credentials reads Authorization. More than one is none.
func credentials(x *wire.Exchange) (name, password string, ok bool) {
	value, n := x.Fields.Get("authorization")
	scheme, coded, _ := bytes.Cut(value, []byte(" "))
	if n != 1 || !bytes.EqualFold(scheme, []byte("basic")) {
		return "", "", false
	}
	text, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimLeft(coded, " ")))
	if err != nil || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}
