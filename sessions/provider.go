package sessions

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"edge/conf"
	"edge/username"
)

// Provider is an OpenID provider that may say who somebody is. It is safe for concurrent use.
type Provider interface {
	// Start gives the address of the provider to which the browser goes. ErrProviderDown.
	Start(ctx context.Context, trip Trip) (location string, err error)
	// Finish says who came back from there, given the query of the address by which it did. ErrProviderDown, ErrNotSigned, ErrNotAllowed,
	// ErrCanceled.
	Finish(ctx context.Context, trip Trip, answer url.Values) (Stranger, error)
	// LoggedOut reads the token by which the provider says that somebody has logged out there. ErrProviderDown, ErrNotSigned.
	LoggedOut(ctx context.Context, token string) (Farewell, error)
}

// Trip is a login under way at a provider: what only the browser that began it has.
type Trip struct {
	Redirect string // where the provider sends the browser back
	State    string
	Nonce    string
	Verifier string // of PKCE
	Fresh    bool   // the provider is to ask anew who sits there
}

// Origin is by whose word a login was made, and whose.
type Origin struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Session string `json:"sid,omitempty"` // the provider's own
	Said    int64  `json:"said"`          // when the provider said it, in Unix milliseconds; 0, of an older binary: not known
}

// Stranger is who came back from a provider. All of it was signed by the provider, or asked of it.
type Stranger struct {
	Origin
	Name   string   // what an account of theirs would be called, as it came
	Email  string   // verified, or ""
	Groups []string // those that count here, as they came
	Level  Level
	Proved time.Time // when they proved there who they are; zero: the provider does not say
}

// groups are the user's in a login by the word of this provider ("": of none): its own, and those that the provider said it has, as far as the
// configuration lets them count. What it has taken back, or another way in, does not bring them in.
func (u User) groups(at *conf.Login, issuer string) []string {
	groups := slices.Clip(u.Groups)
	for _, p := range at.Providers {
		if p.Issuer != issuer {
			continue
		}
		for _, g := range u.Elsewhere[issuer] {
			if counts(p, g) && !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	return groups
}

// counts says whether a provider may say of somebody that they have this group, named as here.
func counts(p *conf.Provider, group string) bool {
	return slices.ContainsFunc(p.Groups, func(name string) bool {
		named, err := username.Canonical(name)
		return name == "*" || err == nil && named == group
	})
}

// Farewell is somebody's logout at a provider: everywhere, or where Session is given from that one.
type Farewell struct {
	Origin
	ID      string // of the token: it comes once
	Expires int64  // Unix milliseconds; nobody believes the token later
}

// Links are the accounts of people whom a provider knows. An account is found by issuer and subject, which never change hands.
type Links interface {
	// Linked gives the account of a stranger: the one linked before; or as terms say, one of the same e-mail address, or a new one, linked from
	// now on. The groups that came along count with it until the next time. ErrNotLinked, ErrNotAllowed for one that is disabled, ErrTaken,
	// ErrBadName.
	Linked(ctx context.Context, s Stranger, terms Terms) (User, error)
	// Link links an account: ErrLinked where another is, ErrNoUser.
	Link(ctx context.Context, name string, o Origin) error
	// Forgo takes an account's links to a provider, and the groups from there, as its owner wishes: ErrLastWay where none of these ways in would be
	// left, ErrNotLinked, ErrNoUser. Whom it was linked to comes in no more by themselves, but Link of the same account lets them in again.
	Forgo(ctx context.Context, name, issuer string, ways Ways) error
	// LinkedAt gives the issuers of the providers that an account is linked at. ErrNoUser.
	LinkedAt(ctx context.Context, name string) (issuers []string, err error)
}

// Ways are those by which one may log in.
type Ways struct {
	Password bool     // by the password, if the account has one
	Issuers  []string // by a link at one of these providers
}

// Terms are how one without a linked account comes in.
type Terms struct {
	ByEmail bool // as the one account of the same verified e-mail address
	Create  bool // with a new account

	Listed func(name string) bool // says which names a new account does not get: ErrTaken; nil: it gets any
}

// What a login elsewhere ends with. The text is shown to the person who asked.
var (
	ErrProviderDown = errors.New("the other site does not answer at this moment, please try again")
	ErrNotSigned    = errors.New("the answer of the other site is not one that can be believed")
	ErrNotAllowed   = errors.New("your account there may not be used here")
	ErrCanceled     = errors.New("the other site did not log you in")
	ErrLinked       = errors.New("your account there is linked to another account here")
	ErrNotFresh     = errors.New("the other site did not ask you again who you are, or does not say so")
	ErrElsewhere    = errors.New("please log in at the other site first, then by your passkey")
	ErrLastWay      = errors.New("you could not log in any more: this is the only way in that your account has")
	ErrNotLinked    = errors.New("no account here is linked to yours there")
)
