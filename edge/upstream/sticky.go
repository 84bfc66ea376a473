package upstream

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
			if key, err = stickyKey(stateDir); err != nil {
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

func stickyKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "sticky.key")
	unlock, err := statefile.Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, stickyKeyLen)
		rand.Read(key)
		return key, statefile.Write(path, key)
	}
	if err == nil && len(key) != stickyKeyLen {
		err = fmt.Errorf("%s has %d bytes, want %d: remove it to have a new one made; clients may come to another target then", path, len(key), stickyKeyLen)
	}
	return key, err
}

// ByID gives the target with an ID; nil: there is none.
func (u *Upstream) ByID(id []byte) *Target {
	for _, t := range u.targets {
		if t.ID != "" && string(id) == t.ID {
			return t
		}
	}
	return nil
}
