package accesslog

import (
	"log/slog"
	"sync"
	"time"
)

// sayEvery is how often the log says, at most, that lines of the access log are lost.
const sayEvery = time.Minute

// loss counts lines that are lost, and says so.
type loss struct {
	counts *Counts
	log    *slog.Logger

	mu    sync.Mutex
	lost  int64 // since it was said
	why   error
	last  time.Time // when it was said
	timer *time.Timer
}

// lose counts lines. It says so later, on a goroutine of its own: where the log goes may be stuck as well.
func (l *loss) lose(n int64, why error) {
	if n == 0 {
		return
	}
	l.counts.Dropped.Add(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.why = l.lost+n, why
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(l.last.Add(sayEvery)), l.say)
	}
}

// say says what is left to be said.
func (l *loss) say() {
	l.mu.Lock()
	lost, why := l.lost, l.why
	if l.timer != nil {
		l.timer.Stop()
	}
	l.lost, l.timer, l.last = 0, nil, time.Now()
	l.mu.Unlock()
	if lost > 0 {
		l.log.Error("lines of the access log are lost", "lines", lost, "because", why)
	}
}
