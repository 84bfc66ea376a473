// Package statefile keeps the small files that two generations of edge share: written whole or not at all, under a lock, readable
// by their owner only.
package statefile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Dir makes the folder if it is missing, 0700, and refuses one that another user owns or that anyone else can write: what lies in it
// decides who may log in. A folder of ours that others may only read is narrowed to 0700.
func Dir(path string) error {
	if err := SafeDir(path); err != nil {
		return err
	}
	return os.Chmod(path, 0o700)
}

// SafeDir is Dir for a folder that others may read.
func SafeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch mode := st.Mode & 0o777; {
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user id %d, not to %d: run this as that user, or name another folder", path, st.Uid, os.Geteuid())
	case mode&0o022 != 0:
		return fmt.Errorf("%s can be written by others (mode %#o): chmod 700 it, and look at what is in it first", path, mode)
	}
	return nil
}

// Write replaces the file at path by data in one step: a reader sees the old content or the new, never a part. Mode 0600.
func Write(path string, data []byte) error { return replace(path, data, (*os.File).Sync) }

// Put is Write for what need not outlive the machine: it does not wait for the disk.
func Put(path string, data []byte) error {
	return replace(path, data, func(*os.File) error { return nil })
}

func replace(path string, data []byte, settle func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, settle(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Key gives the secret of n bytes that a file holds, which the first who asks makes: all generations have the same. Where the file is of another
// length, the error says what else comes of removing it.
func Key(path string, n int, consequence string) ([]byte, error) {
	unlock, err := Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, n)
		rand.Read(key)
		return key, Write(path, key)
	}
	if err == nil && len(key) != n {
		err = fmt.Errorf("%s has %d bytes, want %d: remove it to have a new one made; %s", path, len(key), n, consequence)
	}
	return key, err
}

// Lock waits for the one lock that goes by the file at path, made if missing, and returns what releases it. It holds between
// processes, and ends with the process. Hold it for moments only.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return lock(f)
}

// lock waits for the lock of a file, which it takes over.
func lock(f *os.File) (unlock func(), err error) {
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return func() { f.Close() }, nil
}

// lockDir is Lock for a folder. It leaves no file behind, which root would own who only looks.
func lockDir(path string) (unlock func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return lock(f)
}

// Hold marks this process as alive in the folder dir, which it makes, until the process ends, however it ends.
func Hold(dir string) error {
	if err := Dir(dir); err != nil {
		return err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	name := strconv.Itoa(os.Getpid())
	path := filepath.Join(dir, name)
	if alive, err := held(path); err != nil {
		return err
	} else if alive { // of another container, say, that has the same folder
		return fmt.Errorf("%s: another process of this id lives", path)
	}
	f, err := os.OpenFile(filepath.Join(dir, "."+name), os.O_RDWR|os.O_CREATE, 0o600) // by its own name it must be locked at once
	if err != nil {
		return err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		f.Close()
		return &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	holds = append(holds, f)
	return nil
}

// holds keeps the files of Hold from being closed.
var holds []*os.File

// Holders gives the ids of the processes that are marked alive in dir, in increasing order. It removes the marks of dead ones.
func Holders(dir string) (pids []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		alive, err := held(filepath.Join(dir, e.Name()))
		if err == nil && !alive {
			alive, err = bury(dir, e.Name())
		}
		if err != nil {
			return nil, err
		}
		if alive {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// bury removes the mark of a process that is dead, unless one of the same id marks itself meanwhile.
func bury(dir, name string) (alive bool, err error) {
	unlock, err := lockDir(dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	path := filepath.Join(dir, name)
	if alive, err = held(path); err != nil || alive {
		return alive, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody else has removed it
		return false, err
	}
	return false, nil
}

// held says whether a mark is of a process that lives. An error means that nobody knows: a process without a descriptor left must not take all for dead.
func held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err {
	case nil:
		return false, nil
	case unix.EWOULDBLOCK:
		return true, nil
	default:
		return false, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
}
