package sessions

import (
	"context"
	"time"
)

// Factors are the second proofs that an account has. Without any, its password alone is enough.
type Factors struct {
	TOTP     string // the seed of its authenticator app, sealed; "": none
	Recovery int    // recovery codes that are left
	Handle   []byte // random, what passkeys call the account by; nil before the first
	Passkeys []Passkey
}

// Any says whether a password alone does not log in.
func (f Factors) Any() bool { return f.TOTP != "" || len(f.Passkeys) > 0 }

// Passkey is one of an account's.
type Passkey struct {
	ID            []byte
	Name          string // as its owner calls it
	Created, Used time.Time
	Count         uint32 // the authenticator's signature counter; 0: it has none
	Credential    []byte // the public key and what else checks a signature, as JSON
}

// MaxPasskeys is how many an account may have.
const MaxPasskeys = 20

// SecondFactors is where the second proofs of accounts are kept. Names are canonical. It is safe for concurrent use; what works once, works
// once for all processes together. ErrNoUser where there is no such account, or it is disabled.
type SecondFactors interface {
	Factors(ctx context.Context, name string) (Factors, error)

	// SetTOTP replaces the seed; step, of the code that confirmed it, is used. RemoveTOTP is its end.
	SetTOTP(ctx context.Context, name, seed string, step int64) error
	RemoveTOTP(ctx context.Context, name string) error
	// UseTOTP uses up a step of the seed and all before it; false: that was done already, or the seed is another by now.
	UseTOTP(ctx context.Context, name, seed string, step int64) (bool, error)

	// SetRecovery replaces the recovery codes by those with these hashes. With the last of an account's other factors they go too.
	SetRecovery(ctx context.Context, name string, hashes []string) error
	UseRecovery(ctx context.Context, name, hash string) (bool, error)

	// PasskeyHandle is the account's handle, made if there is none.
	PasskeyHandle(ctx context.Context, name string) ([]byte, error)
	// AddPasskey adds a passkey made for handle: ErrTaken where the id is known, ErrTooMany.
	AddPasskey(ctx context.Context, name string, handle []byte, p Passkey) error
	// PasskeyOwner is the account that a passkey belongs to, ErrNoUser if nobody's.
	PasskeyOwner(ctx context.Context, id []byte) (name string, err error)
	// UsePasskey notes a use with this signature counter; false where the counter did not rise, or the passkey has gone.
	UsePasskey(ctx context.Context, id []byte, count uint32) (bool, error)
	RemovePasskey(ctx context.Context, name string, id []byte) error
}
