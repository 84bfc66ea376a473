package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"

	"edge/edge/wire"
)

// A WebSocket over HTTP/2 (RFC 8441) has none of the proof that HTTP/1.1 asks for: who joins the two gives it (RFC 6455 section 4.1).
var nameKey, nameAccept = []byte("sec-websocket-key"), []byte("sec-websocket-accept")

var errAccept = errors.New("the upstream's Sec-WebSocket-Accept does not answer the key")

// ask is the proof that an upstream is asked for; "": the client itself asks.
type ask string

// add adds a key to a request that has none of its own.
func (a *ask) add(x *wire.Exchange, f wire.Fields) wire.Fields {
	if *a = ""; x.Upgrade == nil || x.Major < 2 {
		return f
	}
	var key [16]byte
	rand.Read(key[:])
	*a = ask(base64.StdEncoding.EncodeToString(key[:]))
	f = f.DelFunc(func(name []byte) bool { return bytes.Equal(name, nameKey) })
	return append(f, wire.Field{Name: nameKey, Value: []byte(*a)})
}

// given takes the proof off the answer.
func (a ask) given(f wire.Fields) (wire.Fields, error) {
	if a == "" {
		return f, nil
	}
	sum := sha1.Sum([]byte(a + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	got, n := f.Get("sec-websocket-accept")
	if n != 1 || string(got) != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil, errAccept
	}
	return f.DelFunc(func(name []byte) bool { return bytes.Equal(name, nameAccept) }), nil
}
