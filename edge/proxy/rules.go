package proxy

import (
	"edge/claim"
	"edge/conf"
	"edge/edge/wire"
)

// Rules are the fields of requests that a configuration sets or removes. The zero value are none.
type Rules struct {
	names map[string]bool // folded: a client's fields of these names go nowhere, nor what an upstream may take for them
	set   wire.Fields
}

// NewRules makes the rules of a configuration.
func NewRules(headers []conf.Header) (r Rules) {
	for _, h := range headers {
		if r.names == nil {
			r.names = map[string]bool{}
		}
		r.names[string(claim.Fold(nil, []byte(h.Name)))] = true
		if h.Value != "" {
			r.set = r.set.Add(h.Name, h.Value)
		}
	}
	return r
}

// replaces says whether a client's field, its name in lower case, gives way.
func (r *Rules) replaces(name []byte) bool {
	if r.names == nil {
		return false
	}
	var room [64]byte
	return r.names[string(claim.Fold(room[:0], name))]
}
