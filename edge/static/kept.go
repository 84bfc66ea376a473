package static

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	settled  = 2 * time.Second // a file that is younger may change again within the tick that dates it
	mostKept = 1024            // files of a folder
	forget   = time.Second     // how long a file is kept that nobody asks for, and for how long it is not read again
)

// mostKeptBytes is what the files that are kept, of all folders, may hold together.
const mostKeptBytes = 32 << 20

var keptBytes atomic.Int64

// kept is what small files of a folder hold, if they are asked for so often that they were looked at less than fresh ago: their answers ask the
// kernel for nothing. A file that changes, or goes, is noticed as soon as a folder that is swapped; one that somebody writes to through a mapping,
// which dates it only now and then, within forget. It is safe for concurrent use.
type kept struct {
	mu      sync.Mutex
	files   map[string]*keptFile
	watched bool
}

type keptFile struct {
	stat unix.Stat_t
	seen time.Time // when the name led to it last
	data []byte    // nil: nobody asked twice within fresh
	read time.Time // when the data was
}

// give gives a file as if it had been opened.
func (k *kept) give(f *file, name string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.files[name]
	if e == nil || e.data == nil || !isFresh(e.seen, now) || now.Sub(e.read) > forget {
		return false
	}
	f.stat, f.data = e.stat, e.data
	return true
}

// see notes that a name has led to a file, which is open.
func (k *kept) see(f *file, name string, now time.Time) {
	if f.stat.Size > atOnce || !old(&f.stat, now) {
		return
	}
	if k.note(f, name, now) {
		k.fill(f, name, now)
	}
}

// old says whether a file was dated so long ago that whoever changes it now dates it anew.
func old(s *unix.Stat_t, now time.Time) bool {
	return now.Sub(time.Unix(s.Mtim.Unix())) > settled && now.Sub(time.Unix(s.Ctim.Unix())) > settled
}

// note says whether what the file holds is wanted, having been asked for just before.
func (k *kept) note(f *file, name string, now time.Time) (wanted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.files[name]
	if e != nil && alike(&e.stat, &f.stat) {
		if now.Sub(e.read) > forget {
			keptBytes.Add(-int64(len(e.data)))
			e.data = nil
		}
		wanted = e.data == nil && isFresh(e.seen, now)
		e.seen = now
		return wanted
	}
	k.drop(name)
	if len(k.files) < mostKept {
		if k.files == nil {
			k.files = map[string]*keptFile{}
		}
		k.files[name] = &keptFile{stat: f.stat, seen: now}
		k.watch()
	}
	return false
}

// alike says whether two looks saw the same file, and nothing was written to it in between.
func alike(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// fill reads an open file for whoever asks next. One that changes meanwhile is not kept.
func (k *kept) fill(f *file, name string, now time.Time) {
	size := f.stat.Size
	if keptBytes.Add(size) > mostKeptBytes {
		keptBytes.Add(-size)
		return
	}
	data := make([]byte, size)
	var after unix.Stat_t
	if f.readAt(data, 0) != nil || unix.Fstat(f.fd, &after) != nil || !alike(&f.stat, &after) || !k.put(name, &after, data, now) {
		keptBytes.Add(-size)
	}
}

// put keeps what a file holds, if it is still wanted.
func (k *kept) put(name string, stat *unix.Stat_t, data []byte, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.files[name]
	if e == nil || e.data != nil || !alike(&e.stat, stat) {
		return false
	}
	e.data, e.read = data, now
	return true
}

// drop forgets a file. k.mu is held.
func (k *kept) drop(name string) {
	if e := k.files[name]; e != nil {
		keptBytes.Add(-int64(len(e.data)))
		delete(k.files, name)
	}
}

// watch has the files looked at as long as there are any. k.mu is held.
func (k *kept) watch() {
	if !k.watched {
		k.watched = true
		time.AfterFunc(forget, k.look)
	}
}

// look forgets what nobody asks for.
func (k *kept) look() {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, e := range k.files {
		if now.Sub(e.seen) >= forget {
			k.drop(name)
		}
	}
	if k.watched = false; len(k.files) > 0 {
		k.watch()
	}
}
