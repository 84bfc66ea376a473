// Package sessions knows who is asking: it keeps logins, sets and reads their cookies, shows the login pages and hands a login over
// from the login host to every virtual host.
//
// There are two kinds of session. A login is made where the password was given, on the login host; each virtual host then gets a session of
// its own below that login, for its own cookie, by a code that works once (LOGIN.md §2). Ending the login ends them all.
package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"edge/username"
)

// Identity is who asks, as known at this moment. It is read-only.
type Identity struct {
	User    string
	Groups  []string
	Email   string    // "": not known
	Session uuid.UUID // the login: the same on every virtual host that was reached through it. A public handle, not a secret
	Since   time.Time // when it was proved who this is
	Level   Level
}

// Level is how well it was proved who somebody is. A higher one is worth all that a lower one is.
type Level int

// The levels: AAL1 is one proof, a password say; AAL2 is two of different kinds, or a passkey that asked for its owner (NIST SP 800-63B).
const (
	AAL1 Level = 1
	AAL2 Level = 2
)

// User is what a Users store says about an account.
type User struct {
	Name   string   // canonical
	Groups []string // of its own, in every session
	Email  string   // as somebody who may has said it; "": none
	Epoch  int64    // changes when every session of the user must end; never used twice for one name

	Elsewhere  map[string][]string // groups that providers say it has, by issuer: they count only in logins by their word
	NoPassword bool                // a provider's word is the first proof of who it is, and nothing else can be

	origin *Origin   // by whose word this login of the user is made; nil: by a proof given here
	proved int64     // when that was proved, if not now, in Unix milliseconds; 0: now
	login  uuid.UUID // the login that it goes on from; zero: it begins
	since  time.Time // when that was made; zero: it is now that it is proved who this is
}

// Users are the accounts. It is safe for concurrent use. A disabled account is no account: ErrBadCredentials, ErrNoUser.
type Users interface {
	// Verify answers ErrBadCredentials after the same work for a wrong password, an unknown and a disabled user; ErrBusy when too
	// many passwords are being checked, by all or from the network that asks (From).
	Verify(ctx context.Context, name, password string) (User, error)
	// Get is asked for every request of a session, but of a store that is Followed; its name is canonical. ErrNoUser; any other error
	// means that nobody knows.
	Get(ctx context.Context, name string) (User, error)
	// Create makes an account: ErrTaken, ErrBadName, ErrBadPassword, ErrBusy.
	Create(ctx context.Context, name, password string) (User, error)
	// ChangePassword ends every session of the user, who proves to be it by the current password as for Verify; ErrBadPassword for the new one.
	ChangePassword(ctx context.Context, name, current, password string) (User, error)
	Invites
	SecondFactors
	Links
}

// Invites are the codes by which one makes an account for oneself where not everybody may.
type Invites interface {
	// Invited looks at a code: ErrNoInvite for one that is unknown, used or too old.
	Invited(ctx context.Context, code string) (Invitation, error)
	// Redeem makes an account as the code says, and uses it up with it: ErrNoInvite, or as Create.
	Redeem(ctx context.Context, code, name, password string) (User, error)
}

// Invitation is what a code stands for.
type Invitation struct {
	ID    string // to name it by; no secret
	Setup bool   // it makes the first account, whatever is said of registration
}

// Followed is a Users store that tells what changes, so that what it said may be kept meanwhile.
type Followed interface {
	// Follow begins now. next gives the names of which anything may have changed since the last call, whoever changed it; lost says
	// that it may have been any. It is called by one at a time. changed is called after a change by this process, before the call
	// that made it returns.
	Follow(changed func()) (next func() (names []string, lost bool, err error), err error)
}

// What a Users store says no with; each may be wrapped. The text is shown to the person who asked.
var (
	ErrBadCredentials = errors.New("the name or the password is wrong")
	ErrNoUser         = errors.New("there is no such user")
	ErrTaken          = errors.New("this name is taken")
	ErrBadName        = username.Err
	ErrBadPassword    = errors.New("a password has 8 to 1024 bytes")
	ErrNoInvite       = errors.New("this invitation has been used, has ended or was never made")
	ErrBadCode        = errors.New("this code is wrong, or has been used")
	ErrTooLate        = errors.New("this took too long, please try again")
	ErrBadPasskey     = errors.New("this passkey did not work here")
	ErrTooMany        = errors.New("there are too many passkeys, please remove one first")
	ErrBusy           = errors.New("too many people are logging in at this moment, please try again")
)

// Hosts is what the login must know of the running configuration. It is safe for concurrent use.
type Hosts interface {
	// Vhost says which virtual host serves this canonical name (no port), and whether anything on it needs a login.
	Vhost(host string) (id string, ok bool)
	// Allowed says whether any route of the virtual host lets who in.
	Allowed(vhostID string, who *Identity) bool
	// Listed says whether any route lets the account of this canonical name in by its name. Nobody gives such a name to oneself.
	Listed(name string) bool
}
