package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Read reads the file, which must be a regular one of at most so many bytes. The error is a *fs.PathError.
func (f File) Read(most int64) ([]byte, error) {
	text, _, err := readFile(f.Path, most)
	if pathErr := (*fs.PathError)(nil); err != nil && !errors.As(err, &pathErr) {
		err = &fs.PathError{Op: "read", Path: f.Path, Err: err}
	}
	return text, err
}

// readFile reads a regular file of at most so many bytes, and says who may do so. Anything else could keep us waiting, or never end.
func readFile(path string, most int64) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to opens at once
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = syscall.EISDIR
	case !info.Mode().IsRegular():
		err = errors.New("is no regular file")
	}
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("is larger than %d bytes", most)
	}
	return text, info.Mode().Perm(), err
}

// reason is an error without the path, which the message says already.
func reason(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
