package static

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// folder is a root that is open. What is opened in it stays in it, by whatever links: the kernel sees to that where it can (openat2, Linux 5.6),
// in one system call; os.Root, which knows the same rules, takes one for each part of a name. A folder that has been replaced is left to the
// garbage collector, which closes it: requests may be at work in it.
type folder struct {
	root     *os.Root
	dir      *os.File // the same folder, as the kernel's wall needs it
	fd       int      // dir's
	dev, ino uint64
	seen     atomic.Int64 // when Root named it last, in nanoseconds of Unix time
	kept     kept
}

// fresh is how long what Root names is believed without a look, so that a busy site does not pay for one with each request. Nobody who swaps a folder
// and then purges a cache, or reloads a page, is as quick.
const fresh = 10 * time.Millisecond

// isFresh says whether what was seen is believed. Requests do not come here in the order in which they began.
func isFresh(seen, now time.Time) bool {
	age := now.Sub(seen)
	return -fresh < age && age < fresh
}

// folder gives the folder that Root names now. It is opened only if it is another one than before. stat is scratch space.
func (f *Files) folder(now time.Time, stat *unix.Stat_t) (*folder, error) {
	d := f.now.Load()
	if d != nil && isFresh(time.Unix(0, d.seen.Load()), now) {
		return d, nil
	}
	if err := unix.Stat(f.Root, stat); err != nil {
		f.now.Store(nil)
		return nil, fmt.Errorf("%w: %w", errRoot, &fs.PathError{Op: "stat", Path: f.Root, Err: err})
	}
	if d == nil || d.ino != stat.Ino || d.dev != uint64(stat.Dev) { // the number of a folder that is open is no other one's
		var err error
		if d, err = openFolder(f.Root, stat); err != nil {
			return nil, fmt.Errorf("%w: %w", errRoot, err)
		}
	}
	d.seen.Store(now.UnixNano())
	f.now.Store(d)
	return d, nil
}

func openFolder(name string, stat *unix.Stat_t) (*folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	d := &folder{root: root, dir: dir, fd: int(dir.Fd())}
	if err := unix.Fstat(d.fd, stat); err != nil { // it may be a newer one than that whose name was looked up
		d.close()
		return nil, err
	}
	d.dev, d.ino = uint64(stat.Dev), stat.Ino
	return d, nil
}

// close closes a folder that nobody else has seen.
func (d *folder) close() {
	d.dir.Close()
	d.root.Close()
}

// file is an open regular file. Whoever opened it closes it.
type file struct {
	fd   int // -1: none is open
	stat unix.Stat_t
	data []byte   // all that it holds; nil: it is to be read
	os   *os.File // owns fd, if it has been asked for
}

// open opens the regular file of this name: nothing hidden, nothing outside, nothing that would have to be waited for. Its error for a folder is
// errFolder. A small one that is asked for again and again may be one that was open a moment before now.
func (d *folder) open(f *file, name string, now time.Time) error {
	if !plain(name) {
		return fs.ErrNotExist
	}
	if d.kept.give(f, name, now) {
		return nil
	}
	fd, err := d.descriptor(name, 0)
	if err != nil {
		return err
	}
	f.fd = fd
	err = unix.Fstat(fd, &f.stat)
	switch {
	case err != nil:
		err = &fs.PathError{Op: "fstat", Path: name, Err: err}
	case f.stat.Mode&unix.S_IFMT == unix.S_IFREG:
		d.kept.see(f, name, now)
		return nil
	case f.stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = errFolder
	default:
		err = fs.ErrNotExist
	}
	f.close()
	return err
}

// close closes the file, if it is open.
func (f *file) close() {
	switch {
	case f.os != nil:
		f.os.Close()
	case f.fd >= 0:
		unix.Close(f.fd)
	}
	f.fd, f.data, f.os = -1, nil, nil
}

// openFlags: a named pipe must not hold the request.
const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY

// beneath is what the kernel is asked for: files, and folders.
var beneath, beneathFolders = unix.OpenHow{Flags: openFlags, Resolve: walls}, unix.OpenHow{Flags: openFlags | unix.O_DIRECTORY, Resolve: walls}

const walls = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS

// kernelWalls says whether the kernel has openat2, and lets us call it: old sandboxes do not.
var kernelWalls = sync.OnceValue(func() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
})

// attempts bounds how often the kernel is asked again, after a signal, or a rename while it followed "..".
const attempts = 10

// descriptor opens a name below the folder; more is 0 or O_DIRECTORY.
func (d *folder) descriptor(name string, more int) (int, error) {
	if !kernelWalls() {
		return d.slowly(name, more)
	}
	defer runtime.KeepAlive(d)
	how := &beneath
	if more != 0 {
		how = &beneathFolders
	}
	fd, err := unix.Openat2(d.fd, name, how)
	for i := 0; i < attempts && (err == unix.EAGAIN || err == unix.EINTR); i++ {
		fd, err = unix.Openat2(d.fd, name, how)
	}
	if err != nil {
		return -1, &fs.PathError{Op: "openat2", Path: name, Err: err}
	}
	return fd, nil
}

// slowly does by os.Root what descriptor does by the kernel.
func (d *folder) slowly(name string, more int) (int, error) {
	f, err := d.root.OpenFile(name, openFlags|more, 0)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}
