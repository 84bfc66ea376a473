package conf

import (
	"math"
	"path/filepath"
	"time"
)

// defaultStateDir is where nothing else is said.
const defaultStateDir = "/var/lib/edge"

func (l *loader) stateDir(t *table) {
	v := t.get("state_dir")
	l.config.StateDir, l.config.StateDirPos = defaultStateDir, Pos{File: t.pos().File}
	if f := v.path(); f.Path != "" {
		l.config.StateDir, l.config.StateDirPos = f.Path, f.Pos
	}
}

// log reads [log]. Its Pos is that of the access log, the one thing in it that can fail later.
func (l *loader) log(v value) {
	t := v.table("[log]")
	c := &l.config.Log
	c.Pos, c.Access = t.pos(), filepath.Join(l.config.StateDir, "access.log")
	if access := t.get("access"); access.given() {
		c.Pos, c.Access = access.pos(), accessLog(access)
	}
	level := t.get("level").oneOf("info", "debug", "info", "warn", "error")
	_ = c.Level.UnmarshalText([]byte(level)) // it knows all four
	c.logLines(t)
	t.done()
}

func accessLog(v value) string {
	if v.raw == any("stdout") || v.raw == any("off") {
		return v.text()
	}
	return v.path().Path
}

func (l *loader) drain(t *table) {
	l.config.Drain = Drain{
		Pos:    t.pos(),
		Spread: t.get("spread").delay(5 * time.Second),
		Stop:   t.get("stop").duration(30 * time.Second),
		Hard:   t.get("hard").delay(0),
	}
	t.done()
}

func (l *loader) upgrade(t *table) {
	l.config.Upgrade = Upgrade{
		Pos:            t.pos(),
		Ready:          t.get("ready").duration(60 * time.Second),
		Probation:      t.get("probation").duration(10 * time.Second),
		MaxGenerations: t.get("max_generations").integer(8, 1, math.MaxInt32),
	}
	t.done()
}
