package sessions

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/google/uuid"
)

// handle is the content of a session cookie: id.secret. The id may be shown and logged, the secret is never kept: the store has its
// SHA-256 only, so that who reads the database cannot use what is in it.
type handle struct {
	id     uuid.UUID
	secret [32]byte
}

const handleLen = 36 + 1 + 43 // a uuid, a dot, 32 bytes in base64

func newHandle() handle {
	h := handle{id: uuid.New()}
	rand.Read(h.secret[:])
	return h
}

func (h handle) String() string {
	return h.id.String() + "." + base64.RawURLEncoding.EncodeToString(h.secret[:])
}

func (h handle) hash() [32]byte { return sha256.Sum256(h.secret[:]) }

// strict64 has one text for each value: the last character's unused bits must be zero.
var strict64 = base64.RawURLEncoding.Strict()

// parseHandle accepts exactly what String writes. There is no second spelling of a cookie, so none that a filter could miss.
func parseHandle(value []byte) (h handle, ok bool) {
	if len(value) != handleLen || value[36] != '.' {
		return handle{}, false
	}
	id, err := uuid.ParseBytes(value[:36])
	if err != nil || id.Version() != 4 || id.String() != string(value[:36]) {
		return handle{}, false
	}
	h.id = id
	n, err := strict64.Decode(h.secret[:], value[37:])
	return h, err == nil && n == len(h.secret)
}
