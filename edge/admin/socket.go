package admin

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a listening socket and the paths that it is found at.
type socket struct {
	*net.UnixListener
	file  os.FileInfo // as it was made
	paths []string
}

// bind makes a socket that nobody but its owner may connect to. It is made under another name and then renamed: nobody finds the path without a
// socket that listens.
func bind(path string) (*socket, error) {
	folder, name, done, err := open(path)
	if err != nil {
		return nil, err
	}
	defer done()
	temporary := filepath.Join(folder, temporaryName())
	lc := net.ListenConfig{Control: private}
	ln, err := lc.Listen(context.Background(), "unix", temporary)
	if err != nil {
		return nil, err
	}
	s := &socket{UnixListener: ln.(*net.UnixListener)}
	s.SetUnlinkOnClose(false)
	if s.file, err = os.Lstat(temporary); err == nil {
		err = os.Rename(temporary, filepath.Join(folder, name))
	}
	if err != nil {
		ln.Close()
		os.Remove(temporary)
		return nil, err
	}
	s.paths = []string{path}
	return s, nil
}

// alsoAt gives the socket one more path.
func (s *socket) alsoAt(path string) error {
	temporary := filepath.Join(filepath.Dir(path), temporaryName())
	if err := os.Link(s.paths[0], temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return err
	}
	s.paths = append(s.paths, path)
	return nil
}

// close removes the paths that are still the socket's, and then closes it.
func (s *socket) close() {
	for _, path := range s.paths {
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, s.file) {
			os.Remove(path)
		}
	}
	s.Close()
}

func temporaryName() string { return ".edge-" + rand.Text()[:6] }

// private has the socket's file let in nobody but its owner: bind takes the socket's own mode, less the umask.
func private(_, _ string, c syscall.RawConn) (err error) {
	if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("fchmod", err)
}

// open gives a short name for a path's folder, until done: a socket's path may have 107 bytes, and state directories can have longer ones.
func open(path string) (folder, name string, done func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), filepath.Base(path), func() { dir.Close() }, nil
}
