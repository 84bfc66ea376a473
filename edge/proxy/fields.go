package proxy

import (
	"bytes"
	"net/netip"
	"slices"

	"edge/claim"
	"edge/edge/record"
	"edge/edge/wire"
)

// fieldScratch is what a request's fields are made in, to be used again.
type fieldScratch struct {
	fields wire.Fields
	text   []byte
}

// These bound what is kept for the next request.
const (
	maxScratch     = 64
	maxScratchText = 16 << 10
)

func (s *fieldScratch) reset() {
	if cap(s.fields) > maxScratch {
		s.fields = nil
	}
	if cap(s.text) > maxScratchText {
		s.text = nil
	}
	clear(s.fields)
	s.fields, s.text = s.fields[:0], s.text[:0]
}

// add gives the bytes of a text, which stand until reset.
func (s *fieldScratch) add(text string) []byte {
	start := len(s.text)
	s.text = append(s.text, text...)
	return s.text[start:]
}

// addAddr is add, for an address.
func (s *fieldScratch) addAddr(a netip.Addr) []byte {
	start := len(s.text)
	s.text = a.AppendTo(s.text)
	return s.text[start:]
}

// addID is add, for a request's id.
func (s *fieldScratch) addID(id record.ID) []byte {
	start := len(s.text)
	s.text = id.AppendTo(s.text)
	return s.text[start:]
}

var (
	nameFor, nameHost, nameProto = []byte("x-forwarded-for"), []byte("x-forwarded-host"), []byte("x-forwarded-proto")
	namePrefix, nameForwarded    = []byte("x-forwarded-prefix"), []byte("forwarded")
	nameRequestID                = []byte("x-request-id")
)

// fields are the request's fields as the upstream gets them. They stand until the scratch is reset.
func (p *Proxy) fields(x *wire.Exchange, s *fieldScratch) wire.Fields {
	f := s.fields[:0]
	for _, field := range x.Fields {
		if p.drops(field.Name) {
			continue
		}
		if string(field.Name) == "referer" && bytes.Contains(field.Value, ofLogin) {
			continue
		}
		if p.OwnCookie != nil && string(field.Name) == "cookie" {
			if field.Value = s.addOthers(field.Value, p.OwnCookie); len(field.Value) == 0 {
				continue
			}
		}
		f = append(f, field)
	}
	f = append(f, p.Rules.set...)
	if len(x.Hops) > 0 || x.Conn.Remote.IsValid() {
		f = append(f, wire.Field{Name: nameFor, Value: s.forwardedFor(x)})
	}
	f = append(f, wire.Field{Name: nameHost, Value: askedFor(x)}, wire.Field{Name: nameProto, Value: x.Scheme})
	if x.Record.ID != (record.ID{}) {
		f = append(f, wire.Field{Name: nameRequestID, Value: s.addID(x.Record.ID)})
	}
	if p.Forwarded {
		f = append(f, wire.Field{Name: nameForwarded, Value: s.forwarded(x)})
	}
	if p.Strip > 0 {
		f = append(f, wire.Field{Name: namePrefix, Value: x.Path[:p.Strip]})
	}
	f = append(f, x.Conn.ClientCert...)
	if x.User != "" {
		f = p.Identity.tell(f, x, s)
	}
	s.fields = f
	return f
}

// drops says whether a client's field, its name in lower case, does not go upstream: where only we may say it, and where a rule says it.
func (p *Proxy) drops(name []byte) bool {
	return claim.Is(name) || p.Rules.replaces(name) || p.Identity.claims(name)
}

// theirs gives an answer's fields, whose array it reuses, without cookies of ours: only we set those.
func (p *Proxy) theirs(f wire.Fields) wire.Fields {
	if p.OwnCookie == nil {
		return f
	}
	return slices.DeleteFunc(f, func(x wire.Field) bool {
		return string(x.Name) == "set-cookie" && p.OwnCookie(setPair(x.Value))
	})
}

// setPair gives the pair of a Set-Cookie field, as a Cookie field would have it. A pair without a name, "=a=b", comes back as "a=b".
func setPair(value []byte) []byte {
	pair, _, _ := bytes.Cut(value, []byte(";"))
	return bytes.TrimRight(bytes.TrimLeft(pair, " \t="), " \t")
}

// dropsTrailer is drops for a trailer, of which none is a cookie.
func (p *Proxy) dropsTrailer(name []byte) bool { return p.drops(name) || string(name) == "cookie" }

// ofLogin is in the addresses of the login's own pages, which may hold a code: no browser names one as Referer, and nothing else shall.
var ofLogin = []byte("/.edge/")

// askedFor is the host that the client asked for, as far as we are told.
func askedFor(x *wire.Exchange) []byte {
	if x.ForwardedHost != nil {
		return x.ForwardedHost
	}
	return x.Authority
}

// forwardedFor makes X-Forwarded-For: the client, the proxies that it came through, the peer.
func (s *fieldScratch) forwardedFor(x *wire.Exchange) []byte {
	start := len(s.text)
	for _, hop := range x.Hops {
		s.text = append(hop.AppendTo(s.text), ", "...)
	}
	if x.Conn.Remote.IsValid() {
		s.addAddr(x.Conn.Remote.Addr().Unmap().WithZone(""))
	} else {
		s.text = s.text[:len(s.text)-len(", ")]
	}
	return s.text[start:]
}

// forwarded makes Forwarded, RFC 7239: of the same addresses, the first with the host and the scheme that the client used.
func (s *fieldScratch) forwarded(x *wire.Exchange) []byte {
	start := len(s.text)
	said := false
	for _, hop := range x.Hops {
		s.element(x, hop, &said)
	}
	switch {
	case x.Conn.Remote.IsValid():
		s.element(x, x.Conn.Remote.Addr().Unmap().WithZone(""), &said)
	case !said:
		s.element(x, netip.Addr{}, &said)
	}
	return s.text[start:]
}

// element adds what Forwarded says of one address; said is whether it has one already.
func (s *fieldScratch) element(x *wire.Exchange, a netip.Addr, said *bool) {
	if *said {
		s.text = append(s.text, ", "...)
	}
	switch {
	case !a.IsValid():
		s.text = append(s.text, "for=unknown"...)
	case a.Is4():
		s.text = a.AppendTo(append(s.text, "for="...))
	default:
		s.text = append(a.AppendTo(append(s.text, `for="[`...)), `]"`...)
	}
	if !*said {
		s.text = append(append(s.text, `;host="`...), askedFor(x)...)
		s.text = append(append(s.text, `";proto=`...), x.Scheme...)
	}
	*said = true
}
