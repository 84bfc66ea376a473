package edge

import (
	"edge/conf"
	"edge/edge/htpasswd"
	"edge/edge/ratelimit"
)

// maxPage bounds an error page.
const maxPage = 1 << 20

// draftRules reads the files that rules name and makes the limits; what has state is taken from old. It lists every mistake.
func (snap *Snapshot) draftRules(old *Snapshot) (wrong mistakes) {
	if old == nil {
		old = new(Snapshot)
	}
	snap.rates, snap.passwords, snap.texts = map[rate]*ratelimit.Limiter{}, map[string]*htpasswd.File{}, map[string]string{}
	for _, v := range snap.conf.Vhosts {
		snap.draftLimit(v.ID, "", v.RateLimit, old)
		wrong.take(v.Pos, snap.draftPasswords(v.BasicAuth, old))
		for _, r := range v.Routes {
			snap.draftLimit(v.ID, limitPath(v, r), r.RateLimit, old)
			wrong.take(r.Pos, snap.draftPasswords(r.BasicAuth, old))
		}
		for _, p := range v.ErrorPages {
			wrong.take(p.Pos, snap.draftPage(p.Page))
		}
		if v.Maintenance != nil {
			wrong.take(v.Maintenance.Pos, snap.draftPage(v.Maintenance.Page))
		}
	}
	return wrong
}

// rate is the spec of a limit: one that is the same keeps its clients' buckets over reloads.
type rate struct {
	vhost, path string // "": of the vhost, for all routes that say nothing
	spec        conf.RateLimit
}

func rateOf(vhost, path string, r *conf.RateLimit) rate {
	spec := *r
	spec.Pos = conf.Pos{}
	return rate{vhost, path, spec}
}

// limitPath is the path that a route's limit is known by.
func limitPath(v *conf.Vhost, r *conf.Route) string {
	if r.RateLimit == v.RateLimit {
		return ""
	}
	return r.Path
}

func (snap *Snapshot) draftLimit(vhost, path string, r *conf.RateLimit, old *Snapshot) {
	if r == nil {
		return
	}
	k := rateOf(vhost, path, r)
	switch {
	case snap.rates[k] != nil:
	case old.rates[k] != nil:
		snap.rates[k] = old.rates[k]
	default:
		snap.rates[k] = ratelimit.New(r.Requests, r.Per, r.Burst)
	}
}

func (snap *Snapshot) draftPasswords(b *conf.BasicAuth, old *Snapshot) error {
	if b == nil {
		return nil
	}
	if _, done := snap.passwords[b.File.Path]; done {
		return nil
	}
	f, err := htpasswd.Load(b.File, old.passwords[b.File.Path])
	snap.passwords[b.File.Path] = f
	return err
}

func (snap *Snapshot) draftPage(f conf.File) error {
	if _, done := snap.texts[f.Path]; done || f.Path == "" {
		return nil
	}
	text, err := f.Read(maxPage)
	snap.texts[f.Path] = string(text)
	if err != nil {
		return f.Pos.Errorf("page: %v", err)
	}
	return nil
}
