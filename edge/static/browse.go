package static

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"edge/edge/wire"
)

// maxListed bounds how much of a folder is read for its list.
const maxListed = 10_000

// list is what a folder holds, as everybody may see it.
type list struct {
	Path    string // as it was asked for
	Below   bool   // the root has no way up
	More    bool   // there is more than is listed
	Entries []entry
}

// entry is a file or, with a slash behind its name, a folder.
type entry struct{ Name, Link string }

// list lists a folder, whose name is "" or ends in a slash: files and folders that may be asked for, in the order of their names, folders first. It
// reads no more than most of them, and a name of the disk's choice.
func (d *folder) list(name string, most int) (*list, error) {
	below := "."
	if name != "" {
		below = strings.TrimSuffix(name, "/")
		if !plain(below) {
			return nil, fs.ErrNotExist
		}
	}
	fd, err := d.descriptor(below, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), below)
	defer f.Close()
	found, err := f.ReadDir(most + 1)
	if len(found) == 0 && err != nil && err != io.EOF {
		return nil, err
	}
	l := &list{More: len(found) > most}
	for _, e := range found[:min(len(found), most)] {
		if e, ok := d.entry(name, e); ok {
			l.Entries = append(l.Entries, e)
		}
	}
	slices.SortFunc(l.Entries, compareEntries)
	return l, nil
}

// compareEntries puts folders first.
func compareEntries(a, b entry) int {
	switch x, y := isFolder(a.Name), isFolder(b.Name); {
	case x && !y:
		return -1
	case y && !x:
		return 1
	}
	return strings.Compare(a.Name, b.Name)
}

// entry gives what is listed of a folder's content; false: nothing, because nobody could ask for it. A link counts as what it leads to.
func (d *folder) entry(folder string, e fs.DirEntry) (entry, bool) {
	name, kind := e.Name(), e.Type()
	if !plain(name) || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return entry{}, false
	}
	if kind == fs.ModeSymlink {
		info, err := d.root.Stat(folder + name)
		if err != nil {
			return entry{}, false
		}
		kind = info.Mode().Type()
	}
	if kind != 0 && kind != fs.ModeDir {
		return entry{}, false
	}
	if kind == fs.ModeDir {
		name += "/"
	}
	return entry{name, "./" + strings.ReplaceAll(url.PathEscape(name), "%2F", "/")}, true // a name with a colon is no scheme
}

const listStyle = `:root{color-scheme:light dark}body{font:1rem/1.6 system-ui,sans-serif;margin:2rem auto;max-width:50rem;padding:0 1rem}` +
	`h1{font-size:1.25rem;overflow-wrap:anywhere}ul{list-style:none;padding:0}li{overflow-wrap:anywhere}`

var listPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Path}}</title>
<style>` + listStyle + `</style>
<h1>{{.Path}}</h1>
<ul>
{{if .Below}}<li><a href="../">../</a>
{{end}}{{range .Entries}}<li><a href="{{.Link}}">{{.Name}}</a>
{{end}}</ul>
{{if .More}}<p>There is more than is listed here.
{{end}}`))

// listPolicy lets a list load nothing and do nothing: whoever may put a file into a folder chooses what stands in the list.
var listPolicy = func() []byte {
	hash := sha256.Sum256([]byte(listStyle))
	return []byte("default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'")
}()

// send answers with the list.
func (l *list) send(x *wire.Exchange, root bool) {
	l.Path, l.Below = wire.Decode(string(x.Path)), !root
	var page bytes.Buffer
	if err := listPage.Execute(&page, l); err != nil {
		fail(x, err)
		return
	}
	wire.Reply(x, http.StatusOK, "text/html; charset=utf-8", page.String(), wire.Field{Name: []byte("content-security-policy"), Value: listPolicy})
}
