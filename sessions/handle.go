package sessions

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/google/uuid"
)

// handle is the content of a session cookie: id.secret, and with the secret a tag that says that edge made the two. The id may be shown
// and logged, the secret is never kept: the store has a SHA-256 only, so that who reads the database cannot use what is in it.
type handle struct {
	id     uuid.UUID
	secret [32]byte
	tag    [tagLen]byte
}

const (
	handleLen = 36 + 1 + 64 // a uuid, a dot, secret and tag in base64
	tagLen    = 16
)

func (db *DB) newHandle() handle { return db.tags.tagged(uuid.New()) }

func (h handle) String() string {
	return h.id.String() + "." + base64.RawURLEncoding.EncodeToString(append(h.secret[:], h.tag[:]...))
}

// hash is of secret and tag, so that there is no second cookie for a session.
func (h *handle) hash() [32]byte {
	var both [32 + tagLen]byte
	copy(both[:], h.secret[:])
	copy(both[32:], h.tag[:])
	return sha256.Sum256(both[:])
}

// parseHandle accepts exactly what String writes: 48 bytes fill their base64. There is no second spelling of a cookie, so none that a
// filter could miss.
func parseHandle(value []byte) (h handle, ok bool) {
	if len(value) != handleLen || value[36] != '.' || slices.ContainsFunc(value[:36], upper) {
		return handle{}, false
	}
	id, err := uuid.ParseBytes(value[:36])
	if err != nil || id.Version() != 4 {
		return handle{}, false
	}
	var both [32 + tagLen]byte
	n, err := strict64.Decode(both[:], value[37:])
	if err != nil || n != len(both) {
		return handle{}, false
	}
	h.id = id
	copy(h.secret[:], both[:])
	copy(h.tag[:], both[32:])
	return h, true
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

// strict64 has one text for each value: the last character's unused bits must be zero.
var strict64 = base64.RawURLEncoding.Strict()

// tagger makes the tags. Whoever has not its key cannot make a cookie for which the store must be asked.
type tagger struct{ key []byte }

func newTagger(root []byte) (tagger, error) {
	key, err := hkdf.Key(sha256.New, root, nil, "edge login cookie tag", sha256.Size)
	return tagger{key}, err
}

// tagged is a new handle for a session.
func (t tagger) tagged(id uuid.UUID) handle {
	h := handle{id: id}
	rand.Read(h.secret[:])
	h.tag = t.tag(h)
	return h
}

func (t tagger) tag(h handle) (tag [tagLen]byte) {
	mac := hmac.New(sha256.New, t.key)
	mac.Write(h.id[:])
	mac.Write(h.secret[:])
	copy(tag[:], mac.Sum(nil))
	return tag
}

// made says whether edge made this handle, at some time.
func (t tagger) made(h handle) bool {
	want := t.tag(h)
	return hmac.Equal(want[:], h.tag[:])
}
