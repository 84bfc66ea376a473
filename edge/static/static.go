// Package static serves the files below one folder.
package static

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"edge/edge/wire"
)

// Files serves a folder. What leads out of it, also by a link, is not found; so is what has a dot in front, but /.well-known/.
type Files struct {
	Root     string // opened for each request: a folder that a deployment swaps is the new one at once
	Prefix   string // of the path, with its last slash: what follows is looked up
	Fallback string // what answers in place of what is not found; "": 404
}

// Serve answers GET and HEAD.
func (f *Files) Serve(x *wire.Exchange) {
	if m := string(x.Method); m != http.MethodGet && m != http.MethodHead {
		wire.Reply(x, http.StatusMethodNotAllowed, "text/plain; charset=utf-8", "Files are read with GET and HEAD.\n",
			wire.Field{Name: []byte("allow"), Value: []byte("GET, HEAD")})
		return
	}
	root, err := os.OpenRoot(f.Root)
	if err != nil {
		fail(x, fmt.Errorf("%w: %w", errRoot, err))
		return
	}
	defer root.Close()
	name := wire.Decode(strings.TrimPrefix(string(x.Path), f.Prefix))
	file, info, err := open(root, name)
	if errors.Is(err, errFolder) {
		redirect(x)
		return
	}
	if err != nil && status(err) == http.StatusNotFound && f.Fallback != "" {
		file, info, err = open(root, strings.TrimPrefix(f.Fallback, "/"))
	}
	if err != nil {
		fail(x, err)
		return
	}
	defer file.Close()
	wire.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, info.Name(), info.ModTime(), file)
	})).Serve(x)
}

var (
	errFolder = errors.New("a folder, asked for without its last slash")
	errRoot   = errors.New("the folder that is served")
)

// open opens the regular file of this name; a folder's is its index.html.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	folder := name == "" || strings.HasSuffix(name, "/")
	if folder {
		name += "index.html"
	}
	if !plain(name) {
		return nil, nil, fs.ErrNotExist
	}
	file, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a named pipe must not hold the request
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	switch {
	case err == nil && info.Mode().IsRegular():
		return file, info, nil
	case err == nil && info.IsDir() && !folder:
		err = errFolder
	case err == nil:
		err = fs.ErrNotExist
	}
	file.Close()
	return nil, nil, err
}

// plain says whether a name has no empty and no hidden part.
func plain(name string) bool {
	for i, part := range strings.Split(name, "/") {
		if part == "" || part[0] == '.' && (i > 0 || part != ".well-known") {
			return false
		}
	}
	return true
}

// redirect adds the slash without which the folder's relative links would miss.
func redirect(x *wire.Exchange) {
	to := "./" + path.Base(string(x.Path)) + "/" // relative: a path that starts with two slashes would name another host
	if x.HasQuery {
		to += "?" + string(x.RawQuery)
	}
	wire.Reply(x, http.StatusPermanentRedirect, "text/plain; charset=utf-8", "", wire.Field{Name: []byte("location"), Value: []byte(to)})
}

// status maps the error of a file that cannot be had. os.Root has no error of its own for what leads out of it: not found, as for all
// the rest, say a file's name used as a folder's or a name too long.
func status(err error) int {
	switch {
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE):
		return http.StatusServiceUnavailable
	case errors.Is(err, errRoot) || errors.Is(err, unix.EIO):
		return http.StatusInternalServerError
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	}
	return http.StatusNotFound
}

var why = map[int]string{
	http.StatusServiceUnavailable:  "Too many files are open.",
	http.StatusInternalServerError: "The files cannot be read.",
	http.StatusForbidden:           "This file may not be read.",
	http.StatusNotFound:            "There is nothing here.",
}

// fail answers for a file that cannot be had. That there is none is no error of the server; all else is on record.
func fail(x *wire.Exchange, err error) {
	code := status(err)
	if code != http.StatusNotFound || !errors.Is(err, fs.ErrNotExist) {
		x.Record.Err = err
	}
	wire.ReplyText(x, code, why[code])
}
