package conf

import "time"

// Reload is [reload].
type Reload struct {
	Pos      Pos
	Deadline time.Duration // until a verdict; never zero
}

func (l *loader) reload(t *table) {
	l.config.Reload = Reload{Pos: t.pos(), Deadline: t.get("deadline").duration(60 * time.Second)}
	t.done()
}
