package conf

// sni reads which names of a tls listener are relayed without a look into their TLS.
func (l *loader) sni(ln *Listener, v value) {
	if ln.refuses(v, ln.Protocol == TLS, "tls") {
		return
	}
	t := v.table("sni")
	if _, ok := v.raw.(map[string]any); ok && len(t.values) == 0 {
		v.mistake("sni must have a name, and where its connections go")
	}
	first := map[string]Pos{}
	for _, key := range t.keys() {
		to := t.get(key)
		name, err := canonicalHost(key)
		switch at, twice := first[name]; {
		case err != nil:
			to.mistakeAtKey("name %q %v", key, err)
		case isIP(name):
			to.mistakeAtKey("name %q is an address, and a ClientHello holds names only", key)
		case twice:
			to.mistakeAtKey("name %s is already at %v", name, at)
		default:
			first[name] = to.place.key
		}
		if _, nested := to.raw.(map[string]any); nested {
			to.mistake(`a name with dots stands in quotes: "%s.…" = …`, key)
			continue
		}
		ln.SNI = append(ln.SNI, SNI{Pos: to.place.key, Name: name, Proxy: l.proxy(to, overTCP)})
	}
}
