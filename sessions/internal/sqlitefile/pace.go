package sqlitefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// How often one process writes: two that write as fast as they can keep each other from ever emptying the log, which then grows to
// gigabytes (SESSION-STORE.md §1). At this rate it stayed below 5 MB.
const (
	writesPerSecond = 1000
	writesAtOnce    = 200
)

// pace is a token bucket. It is used by one at a time.
type pace struct {
	full time.Time // when the bucket will be full
}

// wait is until the next write may be.
func (p *pace) wait(ctx context.Context) error {
	const each = time.Second / writesPerSecond
	now := time.Now()
	if p.full.Before(now) {
		p.full = now
	}
	early := p.full.Sub(now) - (writesAtOnce-1)*each
	if early > 0 {
		timer := time.NewTimer(early)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.full = p.full.Add(each)
	return nil
}

// LogSize is the size of the write-ahead log in bytes. It asks for the name alone: opening the file is what the package comment forbids.
func (f *File) LogSize() (int64, error) {
	fi, err := os.Stat(f.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
