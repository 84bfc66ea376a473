package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"path/filepath"

	"edge/statefile"
)

// Identify gives the targets of the upstreams that have a sticky cookie their IDs. They come of a key that lies in stateDir, made when it is
// first needed: so they are the same in each generation and after a restart, and nobody finds an address by trying all there are.
func (set Set) Identify(stateDir string) error {
	var key []byte
	for _, u := range set {
		if u.Cookie == "" || u.targets[0].ID != "" {
			continue
		}
		if key == nil {
			var err error
			if key, err = statefile.Key(filepath.Join(stateDir, "sticky.key"), stickyKeyLen, "clients may come to another target then"); err != nil {
				return err
			}
		}
		for _, t := range u.targets {
			t.ID = identify(key, t.scheme+"://"+t.Name)
		}
	}
	return nil
}

func identify(key []byte, target string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(target))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}

const stickyKeyLen = 32

// ByID gives the target with an ID; nil: there is none.
func (u *Upstream) ByID(id []byte) *Target {
	for _, t := range u.targets {
		if t.ID != "" && string(id) == t.ID {
			return t
		}
	}
	return nil
}
