package sessions

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"testing"
)

// authenticator holds one passkey, as a security key would: ES256, discoverable. Tests change it to make it misbehave.
type authenticator struct {
	t      testing.TB
	id     []byte
	key    *ecdsa.PrivateKey
	handle []byte
	count  uint32
	origin string
	flags  byte // of an answer: user present, user verified
}

const presentAndVerified = 1 | 4

func newAuthenticator(t testing.TB) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticator{t: t, id: make([]byte, 16), key: key, origin: "https://" + loginHost, flags: presentAndVerified}
	rand.Read(a.id)
	return a
}

var raw64 = base64.RawURLEncoding.EncodeToString

// begun is what the server asks a passkey.
type begun struct {
	Options struct {
		Challenge          string
		RPID               string `json:"rpId"`
		RP                 struct{ ID string }
		User               struct{ ID, Name string }
		UserVerification   string
		AllowCredentials   []struct{ ID string }
		ExcludeCredentials []struct{ ID string }
	}
	State string
}

func (b *browser) begin(purpose string) (got begun, status int) {
	b.t.Helper()
	p := b.post("https://"+loginHost+"/passkey/begin", url.Values{"for": {purpose}})
	if p.status == 200 {
		if err := json.Unmarshal([]byte(p.body), &got); err != nil {
			b.t.Fatal(err)
		}
	}
	return got, p.status
}

func (a *authenticator) client(kind, challenge string) []byte {
	data, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	return data
}

// data is the authenticator data for a relying party, WebAuthn section 6.1.
func (a *authenticator) data(rp string, flags byte) []byte {
	hash := sha256.Sum256([]byte(rp))
	a.count++
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.count)
}

// create answers a ceremony by making the passkey.
func (a *authenticator) create(g begun) string {
	a.t.Helper()
	var err error
	if a.handle, err = strict64.DecodeString(g.Options.User.ID); err != nil {
		a.t.Fatal(err)
	}
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	data := append(a.data(g.Options.RP.ID, a.flags|0x40), make([]byte, 16)...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(a.id))), a.id...)
	data = append(data, 0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20) // a COSE key: EC2, ES256, P-256, x
	data = append(append(data, point[1:33]...), 0x22, 0x58, 0x20)
	data = append(data, point[33:]...)
	object := append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"), byte(len(data)>>8), byte(len(data)))
	answer, _ := json.Marshal(map[string]any{
		"id": raw64(a.id), "rawId": raw64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": raw64(a.client("webauthn.create", g.Options.Challenge)), "attestationObject": raw64(append(object, data...)),
		},
	})
	return string(answer)
}

// get answers a ceremony by signing its challenge.
func (a *authenticator) get(g begun) string {
	a.t.Helper()
	client := a.client("webauthn.get", g.Options.Challenge)
	data := a.data(g.Options.RPID, a.flags)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		a.t.Fatal(err)
	}
	answer, _ := json.Marshal(map[string]any{
		"id": raw64(a.id), "rawId": raw64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": raw64(client), "authenticatorData": raw64(data), "signature": raw64(signature), "userHandle": raw64(a.handle),
		},
	})
	return string(answer)
}

// addPasskey enrols the authenticator for the browser's login.
func (b *browser) addPasskey(a *authenticator, name string) page {
	b.t.Helper()
	g, status := b.begin(forEnrol)
	if status != 200 {
		b.t.Fatalf("to enrol: %d", status)
	}
	return b.post("https://"+loginHost+"/account/passkeys", url.Values{"state": {g.State}, "credential": {a.create(g)}, "name": {name}})
}

// usePasskey logs in by the authenticator, from a page.
func (b *browser) usePasskey(a *authenticator, purpose string, from page) page {
	b.t.Helper()
	g, status := b.begin(purpose)
	if status != 200 {
		b.t.Fatalf("to log in: %d", status)
	}
	form := url.Values{"state": {g.State}, "credential": {a.get(g)}}
	if f := hidden.FindStringSubmatch(from.body); f != nil {
		form.Set("f", f[1])
	}
	return b.post("https://"+loginHost+"/passkey/login", form)
}
