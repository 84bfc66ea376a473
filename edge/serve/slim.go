package serve

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// slim gives back what only a connection at work has need of. It is called by who reads, when all that was read has been used.
func (c *Conn) slim() {
	if t, ok := c.Conn.(*tls.Conn); ok {
		slimTLS(t)
	}
}

// A tls.Conn keeps the buffer of the largest record that it ever read, up to 33 KiB, and that of the ClientHello, for as long as it lives. It has
// no method to give them back, so they are taken from where they lie; of a tls.Conn that lies otherwise nothing is taken.
var rawInput, hand, input = fieldOf[bytes.Buffer]("rawInput"), fieldOf[bytes.Buffer]("hand"), fieldOf[bytes.Reader]("input")

// fieldOf is where in a tls.Conn a field of this name and type lies; 0: there is none.
func fieldOf[T any](name string) uintptr {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[T]() {
		return 0
	}
	return f.Offset
}

// slimTLS lets go of the buffers of a tls.Conn that nobody reads from meanwhile, if they are empty.
func slimTLS(t *tls.Conn) {
	if rawInput == 0 || hand == 0 || input == 0 {
		return
	}
	raw, shake, in := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), rawInput)), (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), hand)),
		(*bytes.Reader)(unsafe.Add(unsafe.Pointer(t), input))
	if raw.Len() > 0 || shake.Len() > 0 || in.Len() > 0 {
		return
	}
	*raw, *shake = bytes.Buffer{}, bytes.Buffer{}
	in.Reset(nil)
}
