package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// algorithms are those by which a token may be signed: with a key that only the provider has. Not "none", and no HMAC, whose key would be our
// secret, or worse, the text of a public key.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

const (
	keysFresh = time.Hour        // a key that the provider has taken back counts no longer than this
	keysPause = 10 * time.Second // between two looks for a key that nobody knows: anybody can name one in a token
)

// keySet are the provider's keys. Unlike the library's it is not sent to the provider by every token with an unknown key, and forgets.
type keySet struct {
	source  *source
	address string

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	read  time.Time
	tried time.Time
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, joseAlgorithms())
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.source.now()
	if now.Sub(k.read) < keysFresh {
		if payload := k.try(signed); payload != nil {
			return payload, nil
		}
	}
	if now.Sub(k.tried) < keysPause {
		return nil, errors.New("no key of the provider has signed this, and it was asked a moment ago")
	}
	k.tried = now
	if err := k.fetch(ctx); err != nil {
		return nil, down(err)
	}
	if payload := k.try(signed); payload != nil {
		return payload, nil
	}
	return nil, errors.New("no key of the provider has signed this")
}

func joseAlgorithms() (list []jose.SignatureAlgorithm) {
	for _, a := range algorithms {
		list = append(list, jose.SignatureAlgorithm(a))
	}
	return list
}

// try gives what is signed by a key of the token's id, nil for none.
func (k *keySet) try(signed *jose.JSONWebSignature) []byte {
	head := signed.Signatures[0].Header
	for _, key := range k.keys {
		if head.KeyID != "" && key.KeyID != head.KeyID || key.Algorithm != "" && key.Algorithm != head.Algorithm || key.Use == "enc" {
			continue
		}
		if payload, err := signed.Verify(&key); err == nil {
			return payload
		}
	}
	return nil
}

// fetch reads the keys. Those of a kind that we do not know are none.
func (k *keySet) fetch(ctx context.Context) error {
	body, _, err := k.source.get(ctx, k.address, "")
	if err != nil {
		return err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return err
	}
	k.keys, k.read = nil, k.source.now()
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() {
			k.keys = append(k.keys, key)
		}
	}
	return nil
}
