package static

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"edge/edge/wire"
)

// answer is all that one request needs. It is used again for another one, so that an ordinary answer allocates nothing but names.
type answer struct {
	x        *wire.Exchange
	compress bool
	asked    asked
	dir      *folder
	name     string // of the file that was found
	file     file   // of that name
	ready    file   // the one beside it that is compressed
	media    media

	sent   *file // file or ready
	coding coding
	onWay  bool // it is compressed while it is sent
	validators

	fields  wire.Fields
	spans   []span
	ranged  []byte // Content-Range
	limited io.LimitedReader
	buf     []byte
}

// atOnce is how large a file, or a part of it, may be to be read at once. It fits with its head in what the engine writes at once; a larger one goes
// by sendfile where that can be.
const atOnce = 15 << 10

var answers = sync.Pool{New: func() any {
	a := &answer{fields: make(wire.Fields, 0, 12), spans: make([]span, 0, maxSpans), buf: make([]byte, atOnce)}
	a.file.fd, a.ready.fd = -1, -1
	return a
}}

// begin gives what answers x. Its end gives it back.
func begin(x *wire.Exchange, compress bool) *answer {
	a := answers.Get().(*answer)
	a.x, a.compress = x, compress
	a.asked.read(x.Fields)
	return a
}

func (a *answer) end() {
	a.file.close()
	a.ready.close()
	if a.onWay {
		<-atWork
	}
	clear(a.fields[:cap(a.fields)])
	a.x, a.asked, a.dir, a.name, a.media, a.sent, a.coding, a.onWay = nil, asked{}, nil, "", media{}, nil, identity, false
	a.fields, a.limited = a.fields[:0], io.LimitedReader{}
	answers.Put(a)
}

// find opens the regular file of this name; a folder's is its index.html.
func (a *answer) find(dir *folder, name string) error {
	folder := isFolder(name)
	if folder {
		name += "index.html"
	}
	err := dir.open(&a.file, name, a.x.Record.Start)
	if err == errFolder && folder {
		err = os.ErrNotExist // a folder called index.html
	}
	a.dir, a.name = dir, name
	return err
}

// serve answers with the file that was found.
func (a *answer) serve() {
	a.media = mediaOf(a.name)
	if !a.choose() {
		a.refuse(http.StatusNotAcceptable, "There is no form of this that you accept.")
		return
	}
	a.validators.make(a.sent, a.coding)
	switch a.asked.check(a.x.Fields, &a.validators) {
	case http.StatusPreconditionFailed:
		a.refuse(http.StatusPreconditionFailed, "This is not what you expect it to be.")
	case http.StatusNotModified:
		a.unchanged()
	default:
		a.content()
	}
}

// choose says in which form the file is sent; false: in none that the client takes.
func (a *answer) choose() bool {
	a.sent = &a.file
	if !a.compress || !a.asked.encodings {
		return true
	}
	likes := without
	likes.read(a.x.Fields)
	var array [len(offers)]offer
	for _, o := range likes.best(array[:0]) {
		if a.take(o, likes[identity] == 0) {
			return true
		}
	}
	return false
}

// take takes an offer, if there is such a form. A client that refuses the file as it is gets also compressed what is not worth it.
func (a *answer) take(o offer, must bool) bool {
	switch {
	case o.coding == identity:
	case o.ready && a.beside(o.coding):
		a.sent = &a.ready
	case !o.ready && a.worth(must) && a.engage():
	default:
		return false
	}
	a.coding = o.coding
	return true
}

// worth says whether the file is to be compressed on the way.
func (a *answer) worth(must bool) bool {
	size := a.file.stat.Size
	return size <= mostCompressed && (must || a.media.text && size >= leastCompressed)
}

// engage takes one of the places at which files are compressed, until the answer's end; false: there is none.
func (a *answer) engage() bool {
	select {
	case atWork <- struct{}{}:
		a.onWay = true
	default:
	}
	return a.onWay
}

// beside opens what lies compressed beside the file. If it is older it was forgotten.
func (a *answer) beside(c coding) bool {
	if err := a.dir.open(&a.ready, a.name+codings[c].ending, a.x.Record.Start); err != nil {
		return false
	}
	if a.ready.stat.Mtim.Nano() < a.file.stat.Mtim.Nano() {
		a.ready.close()
		return false
	}
	return true
}

// The names of the fields that are sent.
var (
	contentType     = []byte("content-type")
	contentEncoding = []byte("content-encoding")
	contentRange    = []byte("content-range")
	acceptRanges    = []byte("accept-ranges")
	lastModified    = []byte("last-modified")
	etag            = []byte("etag")
	vary            = []byte("vary")
	acceptEncoding  = []byte("accept-encoding")
	byBytes         = []byte("bytes")
)

func (a *answer) add(name, value []byte) {
	a.fields = append(a.fields, wire.Field{Name: name, Value: value})
}

// varies says that the answer depends on what the client accepts: where files are compressed each may lie compressed beside itself.
func (a *answer) varies() {
	if a.compress {
		a.add(vary, acceptEncoding)
	}
}

// refuse answers without the file.
func (a *answer) refuse(status int, why string) {
	a.varies()
	wire.ReplyText(a.x, status, why, a.fields...)
}

// unchanged answers that the client has the file. Last-Modified adds nothing to a tag: RFC 9110 section 15.4.5.
func (a *answer) unchanged() {
	if len(a.tag) > 0 {
		a.add(etag, a.tag)
	}
	a.varies()
	a.close(a.x.Head(http.StatusNotModified, a.fields, wire.Unknown))
}

// close ends the answer, well or not.
func (a *answer) close(err error) {
	if err == nil {
		err = a.x.Finish(nil)
	}
	if err != nil {
		a.x.Abort(err)
	}
}

// describe adds the fields that say what is sent.
func (a *answer) describe(ctype []byte) {
	a.add(contentType, ctype)
	if a.coding != identity {
		a.add(contentEncoding, codings[a.coding].name)
	}
	a.varies()
	if len(a.tag) > 0 {
		a.add(etag, a.tag)
		a.add(lastModified, a.date)
	}
	if !a.onWay {
		a.add(acceptRanges, byBytes)
	}
}

// content sends the file, or what was asked for of it. Ranges are for GET alone, and not for what is not there before it is sent.
func (a *answer) content() {
	if a.asked.ranges == nil || a.onWay || a.isHead() || !a.validators.holds(a.asked.ifRange) {
		a.all()
		return
	}
	size := a.sent.stat.Size
	spans, err := parseRanges(a.asked.ranges, size, a.spans)
	switch {
	case err == errIgnored:
		a.all()
	case err != nil:
		a.add(contentRange, strconv.AppendInt([]byte("bytes */"), size, 10))
		a.refuse(http.StatusRequestedRangeNotSatisfiable, "The range is not within the file, or is none.")
	case len(spans) == 1:
		a.part(spans[0])
	default:
		a.parts(newParts(spans, size, a.media.ctype))
	}
}

func (a *answer) isHead() bool { return string(a.x.Method) == http.MethodHead }

// all sends the whole file. What a HEAD is told is what a GET would be.
func (a *answer) all() {
	a.describe(a.media.ctype)
	length := a.sent.stat.Size
	if a.onWay {
		length = wire.Unknown
	}
	err := a.x.Head(http.StatusOK, a.fields, length)
	switch {
	case err != nil || a.isHead():
	case a.onWay:
		a.limited = io.LimitedReader{R: a.sent.content(), N: a.sent.stat.Size}
		err = a.whole(compress(a.x, &a.limited, a.coding))
	default:
		err = a.write(span{0, length})
	}
	a.close(err)
}

// part sends one part of the file.
func (a *answer) part(s span) {
	a.ranged = s.appendContentRange(a.ranged[:0], a.sent.stat.Size)
	a.add(contentRange, a.ranged)
	a.describe(a.media.ctype)
	err := a.x.Head(http.StatusPartialContent, a.fields, s.length)
	if err == nil {
		err = a.write(s)
	}
	a.close(err)
}

// parts sends several.
func (a *answer) parts(p *parts) {
	a.describe(p.mediaType())
	err := a.x.Head(http.StatusPartialContent, a.fields, p.length())
	for i, s := range p.spans {
		if err == nil {
			_, err = a.x.Write(p.head(i))
		}
		if err == nil {
			err = a.write(s)
		}
	}
	if err == nil {
		_, err = a.x.Write(p.end())
	}
	a.close(err)
}

// errCut is a file that got shorter while it was sent.
var errCut = errors.New("the file has become shorter meanwhile")

// write sends a part of the file's bytes.
func (a *answer) write(s span) error {
	if data := a.sent.data; data != nil {
		_, err := a.x.Write(data[s.start : s.start+s.length])
		return err
	}
	if s.length <= atOnce {
		b := a.buf[:s.length]
		if err := a.sent.readAt(b, s.start); err != nil {
			a.x.Record.Err = err
			return err
		}
		_, err := a.x.Write(b)
		return err
	}
	f := a.sent.reader()
	if _, err := f.Seek(s.start, io.SeekStart); err != nil {
		return err
	}
	a.limited = io.LimitedReader{R: f, N: s.length} // one, over a file: the engine and sendfile see through it
	_, err := a.x.ReadFrom(&a.limited)
	return a.whole(err)
}

// whole says whether all that was to be read was read.
func (a *answer) whole(err error) error {
	if err == nil && a.limited.N > 0 {
		a.x.Record.Err = errCut
		return errCut
	}
	return err
}

// readAt reads len(b) bytes.
func (f *file) readAt(b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := unix.Pread(f.fd, b, offset)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("pread64", err)
		case n == 0:
			return errCut
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// reader gives the file as the standard library knows files.
func (f *file) reader() *os.File {
	if f.os == nil {
		f.os = os.NewFile(uintptr(f.fd), "")
	}
	return f.os
}

// content gives what the file holds, once.
func (f *file) content() io.Reader {
	if f.data != nil {
		return bytes.NewReader(f.data)
	}
	return f.reader()
}
