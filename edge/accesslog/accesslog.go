// Package accesslog writes one line for each request, as JSON or in the combined format of Apache and nginx.
package accesslog

import (
	"log/slog"
	"slices"
	"sync"

	"edge/conf"
	"edge/edge/record"
)

// Log is an access log. It is safe for concurrent use, also with a second process that appends to the same file.
type Log struct {
	conf conf.Log
	out  *output // nil: off
	text func(b []byte, r *record.Record, h *hidden) []byte
	hide hidden
}

// Open opens the log that a configuration names, and keeps count in c. The file, if old has the same, is old's: two Logs that differ only in what
// their lines look like write one after the other. log is told of lines that are lost; old may be nil. Where nothing has changed it is
// old that is given.
func Open(cfg conf.Log, old *Log, c *Counts, log *slog.Logger) (*Log, error) {
	if old != nil && old.conf.Access == cfg.Access && old.conf.Format == cfg.Format && old.conf.ReturnID == cfg.ReturnID && slices.Equal(old.conf.Hide, cfg.Hide) {
		return old, nil
	}
	l := &Log{conf: cfg, text: appendJSON, hide: newHidden(cfg.Hide)}
	if cfg.Format == conf.LogCombined {
		l.text = appendCombined
	}
	if cfg.Access == "off" {
		return l, nil
	}
	if old != nil && old.conf.Access == cfg.Access {
		l.out = old.out
		return l, nil
	}
	var err error
	l.out, err = open(cfg.Access, c, log)
	return l, err
}

// Shares says whether two logs have one file.
func (l *Log) Shares(other *Log) bool { return other != nil && l.out == other.out }

// Reopen opens the file anew by its name, for a log that was rotated. On an error the log goes on where it was.
func (l *Log) Reopen() error {
	if l.out == nil {
		return nil
	}
	return l.out.reopen()
}

// Close writes what waits to be written, within a second, and closes the file. Lines that come later are lost, and counted.
func (l *Log) Close() error {
	if l.out == nil {
		return nil
	}
	return l.out.close()
}

// Headers says whether lines hold the record's Referer and UserAgent.
func (l *Log) Headers() bool { return l.out != nil && l.conf.Format == conf.LogCombined }

// ReturnsID says whether answers tell the client the request's id.
func (l *Log) ReturnsID() bool { return l.conf.ReturnID }

// lines are buffers for a line each, to be used again.
var lines = sync.Pool{New: func() any { return new([]byte) }}

// Write writes a request's line: when it has ended, and for a tunnel also when it was opened, where the format can tell the one from the other. It
// does not wait for a reader that is slow.
func (l *Log) Write(r *record.Record) {
	if l.out == nil || l.conf.Format == conf.LogCombined && r.Event == record.TunnelOpened {
		return
	}
	buf := lines.Get().(*[]byte)
	*buf = l.text((*buf)[:0], r, &l.hide)
	l.out.write(*buf)
	lines.Put(buf)
}
