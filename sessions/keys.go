package sessions

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"path/filepath"

	"golang.org/x/crypto/chacha20poly1305"

	"edge/statefile"
)

const rootLen = 32

// rootKey reads DIR/login.key, made at the first start. Both processes of an upgrade read the same one, or they would refuse each other's cookies
// and blobs.
func rootKey(dir string) ([]byte, error) {
	return statefile.Key(filepath.Join(dir, "login.key"), rootLen, "everybody must log in again, and set up their authenticator app anew (passkeys and recovery codes stay good)")
}

// sealer encrypts and signs small values that pass through a browser, for one purpose: what one sealer made, another cannot open.
type sealer struct{ aead cipher.AEAD }

// newSealer's purpose names the key, so that a value of one purpose never passes for one of another.
func newSealer(root []byte, purpose string) (sealer, error) {
	key, err := hkdf.Key(sha256.New, root, nil, "edge login "+purpose, chacha20poly1305.KeySize)
	if err != nil {
		return sealer{}, err
	}
	// The long random nonce of XChaCha20 cannot run out, however many bots start a login.
	aead, err := chacha20poly1305.NewX(key)
	return sealer{aead}, err
}

// sealVersion is the first byte of every sealed value: a later binary can tell an older one's.
const sealVersion = 1

// seal binds v to its place (the name of the cookie, say) and returns text that fits a cookie and a query.
func (s sealer) seal(place string, v any) (string, error) {
	var text bytes.Buffer
	plainly := json.NewEncoder(&text)
	plainly.SetEscapeHTML(false) // six bytes for each "&" of an address would be more than a cookie holds
	if err := plainly.Encode(v); err != nil {
		return "", err
	}
	plain := text.Bytes()
	out := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	out[0] = sealVersion
	nonce := out[1:]
	rand.Read(nonce)
	out = s.aead.Seal(out, nonce, plain, []byte(place))
	return base64.RawURLEncoding.EncodeToString(out), nil
}

// open puts into v what seal was given, if this sealer made the text for this place.
func (s sealer) open(place, text string, v any) bool {
	raw, err := strict64.DecodeString(text)
	if err != nil || len(raw) < 1+s.aead.NonceSize() || raw[0] != sealVersion {
		return false
	}
	nonce, sealed := raw[1:1+s.aead.NonceSize()], raw[1+s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, sealed, []byte(place))
	return err == nil && json.Unmarshal(plain, v) == nil
}
