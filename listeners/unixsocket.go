package listeners

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// defaultMode lets in edge's own user and no other.
const defaultMode os.FileMode = 0o600

// mode is that of a unix socket's file.
func (s Spec) mode() os.FileMode {
	if s.Mode == 0 {
		return defaultMode
	}
	return s.Mode
}

// unixPath gives the file of a unix socket that has one. It looks at nothing that a Commit changes.
func unixPath(spec *Spec) string {
	if spec.Network == "unix" && spec.Address[0] != '@' {
		return spec.Address
	}
	return ""
}

// bindUnix makes a unix socket at its path, in the place of a stale one. It is made under another name, and gets its path when it listens and
// has its mode: so nobody finds the path without a socket, or with one that lets in more than it should.
func bindUnix(spec Spec) (*Socket, error) {
	path := spec.Address
	if err := checkPath(path); err != nil {
		return nil, err
	}
	temporary := filepath.Join(filepath.Dir(path), ".edge-"+rand.Text()[:6])
	if len(temporary) > maxPath {
		return nil, fmt.Errorf("%s: the folder's name is too long: a unix socket there is at first called %s, which may have %d bytes", path, temporary, maxPath)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return restrict(c, spec.mode()) }}
	ln, err := lc.Listen(context.Background(), "unix", temporary)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			op.Addr = &net.UnixAddr{Name: path, Net: "unix"} // the one that the reader knows
		}
		return nil, explain(spec, err)
	}
	s := newSocket(spec, ln)
	if err := s.install(temporary); err != nil {
		ln.Close()
		os.Remove(temporary)
		return nil, err
	}
	return s, nil
}

// maxPath is the longest path of a unix socket (sun_path, without its NUL).
const maxPath = 107

// restrict has a socket that is to be bound get a file that lets in nobody but those whom mode does: bind takes the socket's own mode, less
// the umask.
func restrict(c syscall.RawConn, mode os.FileMode) (err error) {
	if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(mode)) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("fchmod", err)
}

// install gives a socket that was bound under a temporary name its mode and its path.
func (s *Socket) install(temporary string) (err error) {
	if s.file, err = os.Lstat(temporary); err != nil {
		return err
	}
	if err := chmod(temporary, s.file, s.spec.mode()); err != nil {
		return err
	}
	return os.Rename(temporary, s.spec.Address)
}

// chmod gives the file at a path its mode, if it is still the one that is meant. It follows no link.
func chmod(path string, file os.FileInfo, mode os.FileMode) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if fmt.Sprintf("%d:%d", st.Dev, st.Ino) != inode(file) {
		return fmt.Errorf("%s is another file by now", path)
	}
	if os.FileMode(st.Mode).Perm() == mode {
		return nil
	}
	if err := os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode); err != nil {
		return fmt.Errorf("the mode of %s: %w", path, err)
	}
	return nil
}

// checkPath says why there may be no socket at a path: another program's, or a file of another kind. One that nobody listens on is stale, and
// may be replaced.
func checkPath(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: remove it, or choose another path", path)
	}
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		c.Close()
		fallthrough
	case errors.Is(err, unix.EAGAIN): // its queue is full
		return fmt.Errorf("another program listens on %s: stop it, or choose another path", path)
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%s is there, and it cannot be told whether it is in use: %w", path, err)
	}
	return nil
}
