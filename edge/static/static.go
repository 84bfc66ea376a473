// Package static serves the files below one folder.
package static

import (
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"edge/edge/wire"
)

// Files serves a folder. What leads out of it, also by a link, is not found; so is what has a dot in front, but /.well-known/. It is safe for
// concurrent use.
type Files struct {
	Root     string // a folder that a deployment swaps is the new one at once: within 10 ms
	Prefix   string // of the path, with its last slash: what follows is looked up
	Fallback string // what answers in place of what is not found; "": 404
	Compress bool   // who takes it gets what lies compressed beside a file, or text compressed on the way
	Browse   bool   // a folder without index.html is listed

	now atomic.Pointer[folder] // what Root was when it was looked at last
}

// Serve answers GET and HEAD.
func (f *Files) Serve(x *wire.Exchange) {
	if m := string(x.Method); m != http.MethodGet && m != http.MethodHead {
		wire.ReplyText(x, http.StatusMethodNotAllowed, "Files are read with GET and HEAD.", wire.Field{Name: []byte("allow"), Value: []byte("GET, HEAD")})
		return
	}
	a := begin(x, f.Compress)
	defer a.end()
	dir, err := f.folder(x.Record.Start, &a.file.stat)
	if err != nil {
		fail(x, err)
		return
	}
	name := wire.Decode(strings.TrimPrefix(string(x.Path), f.Prefix))
	switch err := a.find(dir, name); {
	case err == nil:
		a.serve()
	case err == errFolder:
		redirect(x)
	case status(err) == http.StatusNotFound:
		f.instead(a, dir, name, err)
	default:
		fail(x, err)
	}
}

// instead answers for what is not found: with the list of a folder, with the fallback, or by saying so.
func (f *Files) instead(a *answer, dir *folder, name string, err error) {
	if f.Browse && isFolder(name) {
		list, err := dir.list(name, maxListed)
		if err == nil {
			list.send(a.x, name == "")
			return
		}
		if status(err) != http.StatusNotFound {
			fail(a.x, err)
			return
		}
	}
	if f.Fallback != "" {
		if err = a.find(dir, strings.TrimPrefix(f.Fallback, "/")); err == nil {
			a.serve()
			return
		}
	}
	fail(a.x, err)
}

var (
	errFolder = errors.New("a folder, asked for without its last slash")
	errRoot   = errors.New("the folder that is served")
)

// isFolder says whether a name asks for a folder.
func isFolder(name string) bool { return name == "" || strings.HasSuffix(name, "/") }

// plain says whether a name has no empty and no hidden part.
func plain(name string) bool {
	first := true
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' && !(first && part == ".well-known") {
			return false
		}
		first = false
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

// status maps the error of a file that cannot be had. There is no error of its own for what leads out of the root: not found, as for all
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
