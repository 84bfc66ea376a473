package sessions

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"time"
)

// fakeFactors are an account's in memory.
type fakeFactors struct {
	seed     string
	step     int64
	recovery []string
	handle   []byte
	passkeys []Passkey
}

// change does something to an account, if there is one.
func (a *accounts) change(name string, do func(f *fakeFactors) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.all[name]
	if a.down != nil || !ok {
		if a.down != nil {
			return a.down
		}
		return ErrNoUser
	}
	err := do(&u.fakeFactors)
	a.all[name] = u
	return err
}

func (a *accounts) Factors(_ context.Context, name string) (out Factors, err error) {
	err = a.change(name, func(f *fakeFactors) error {
		out = Factors{f.seed, len(f.recovery), f.handle, slices.Clone(f.passkeys)}
		return nil
	})
	return out, err
}

func (a *accounts) SetTOTP(_ context.Context, name, seed string, step int64) error {
	return a.change(name, func(f *fakeFactors) error { f.seed, f.step = seed, step; return nil })
}

func (a *accounts) RemoveTOTP(_ context.Context, name string) error {
	return a.change(name, func(f *fakeFactors) error { f.seed = ""; f.drop(); return nil })
}

func (f *fakeFactors) drop() {
	if f.seed == "" && len(f.passkeys) == 0 {
		f.recovery = nil
	}
}

func (a *accounts) UseTOTP(_ context.Context, name, seed string, step int64) (done bool, err error) {
	err = a.change(name, func(f *fakeFactors) error {
		if done = f.seed == seed && f.step < step; done {
			f.step = step
		}
		return nil
	})
	return done, err
}

func (a *accounts) SetRecovery(_ context.Context, name string, hashes []string) error {
	return a.change(name, func(f *fakeFactors) error { f.recovery = hashes; return nil })
}

func (a *accounts) UseRecovery(_ context.Context, name, hash string) (done bool, err error) {
	err = a.change(name, func(f *fakeFactors) error {
		n := len(f.recovery)
		f.recovery = slices.DeleteFunc(f.recovery, func(h string) bool { return h == hash })
		done = len(f.recovery) < n
		return nil
	})
	return done, err
}

func (a *accounts) PasskeyHandle(_ context.Context, name string) (handle []byte, err error) {
	err = a.change(name, func(f *fakeFactors) error {
		if f.handle == nil {
			f.handle = make([]byte, 32)
			rand.Read(f.handle)
		}
		handle = f.handle
		return nil
	})
	return handle, err
}

func (a *accounts) AddPasskey(_ context.Context, name string, handle []byte, p Passkey) error {
	return a.change(name, func(f *fakeFactors) error {
		if len(f.passkeys) >= MaxPasskeys {
			return ErrTooMany
		}
		if !bytes.Equal(f.handle, handle) {
			return ErrNoUser
		}
		p.Created, p.Used = a.now(), a.now()
		f.passkeys = append(f.passkeys, p)
		return nil
	})
}

func (a *accounts) PasskeyOwner(_ context.Context, id []byte) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, u := range a.all {
		if slices.ContainsFunc(u.passkeys, func(p Passkey) bool { return bytes.Equal(p.ID, id) }) {
			return name, a.down
		}
	}
	return "", ErrNoUser
}

func (a *accounts) UsePasskey(ctx context.Context, id []byte, count uint32) (done bool, err error) {
	name, err := a.PasskeyOwner(ctx, id)
	if err != nil {
		return false, nil
	}
	err = a.change(name, func(f *fakeFactors) error {
		for i := range f.passkeys {
			p := &f.passkeys[i]
			if bytes.Equal(p.ID, id) && (p.Count < count || p.Count == 0 && count == 0) {
				p.Count, p.Used, done = count, a.now(), true
			}
		}
		return nil
	})
	return done, err
}

func (a *accounts) RemovePasskey(_ context.Context, name string, id []byte) error {
	return a.change(name, func(f *fakeFactors) error {
		f.passkeys = slices.DeleteFunc(f.passkeys, func(p Passkey) bool { return bytes.Equal(p.ID, id) })
		f.drop()
		return nil
	})
}

func (a *accounts) now() time.Time { return a.clock.Now() }
