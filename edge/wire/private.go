package wire

// private keeps what one person may see out of shared caches, unless the handler says how it may be cached.
type private struct{ Responder }

var keptPrivate = Field{[]byte("cache-control"), []byte("private")}

func (p *private) Head(status int, f Fields, length int64) error {
	if _, n := f.Get("cache-control"); n == 0 {
		f = append(f, keptPrivate)
	}
	return p.Responder.Head(status, f, length)
}

// KeepPrivate keeps the answer out of shared caches, unless the handler says how it may be cached. It allocates nothing, and x must not be
// copied afterwards.
func (x *Exchange) KeepPrivate() {
	x.private.Responder = x.Responder
	x.Responder = &x.private
}
