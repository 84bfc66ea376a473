package conf

import (
	"bytes"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// source is the text of one file. It is what a Pos shows its line from.
type source struct {
	name    string // as places say it
	dir     string // absolute: where relative paths start
	order   int    // the main file is 0, the included ones follow
	text    []byte
	starts  []int // offset of each line
	secrets []span
}

// span is a part of a text, by offsets.
type span struct{ from, to int }

func newSource(name, dir string, order int, text []byte) *source {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // some editors begin UTF-8 with a byte order mark
	s := &source{name: name, dir: dir, order: order, text: text, starts: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// place is the file's in the order of all; a Pos without a source is taken for one of the main file.
func (s *source) place() int {
	if s == nil {
		return 0
	}
	return s.order
}

// whole is the place of the file as a whole.
func (s *source) whole() Pos { return Pos{File: s.name, source: s} }

// pos gives an offset's line and column. Columns count bytes, as compilers do.
func (s *source) pos(offset int) Pos {
	line := sort.SearchInts(s.starts, offset+1)
	return Pos{File: s.name, Line: line, Column: offset - s.starts[line-1] + 1, source: s}
}

// line gives a line without its end. Lines count from 1.
func (s *source) line(n int) []byte {
	rest := s.text[s.starts[n-1]:]
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return bytes.TrimSuffix(rest, []byte("\r"))
}

// hide keeps the string that stands at p out of every excerpt.
func (s *source) hide(p Pos) {
	if p.Line == 0 {
		return
	}
	from := s.starts[p.Line-1] + p.Column - 1
	s.secrets = append(s.secrets, span{from, from + stringLength(s.line(p.Line)[p.Column-1:])})
}

// stringLength is how much of a line the string takes that the line begins with: all of it, where the string goes on in the next line.
func stringLength(line []byte) int {
	quoted := len(line) > 0 && (line[0] == '"' || line[0] == '\'')
	if !quoted || bytes.HasPrefix(line, []byte(`"""`)) || bytes.HasPrefix(line, []byte("'''")) {
		return len(line)
	}
	for i := 1; i < len(line); i++ {
		switch {
		case line[0] == '"' && line[i] == '\\':
			i++
		case line[i] == line[0]:
			return i + 1
		}
	}
	return len(line)
}

func (s *source) secret(offset int) bool {
	return slices.ContainsFunc(s.secrets, func(hidden span) bool { return hidden.from <= offset && offset < hidden.to })
}

// An excerpt of a long line is a window that holds the place, and the most of it before the place.
const (
	windowWidth  = 150
	windowBefore = 100
)

// excerpt gives p's line and, in a line below, a caret under its column.
func (s *source) excerpt(p Pos) string {
	line, at := s.line(p.Line), p.Column-1
	from, to := window(line, at)
	var text, under strings.Builder
	cut := func(gone bool) {
		if gone {
			text.WriteString("…")
		}
	}
	cut(from > 0)
	under.WriteString(strings.Repeat(" ", min(from, 1)))
	for i, r := range string(line[from:to]) {
		if s.secret(s.starts[p.Line-1] + from + i) {
			r = '*'
		}
		r = visible(r)
		text.WriteRune(r)
		if from+i < at {
			under.WriteString(blank(r))
		}
	}
	cut(to < len(line))
	const indent = "    "
	return indent + text.String() + "\n" + indent + under.String() + "^"
}

// window chooses what is shown of a line; it parts no rune.
func window(line []byte, at int) (from, to int) {
	if len(line) > windowWidth && at > windowBefore {
		from = min(at-windowBefore, len(line)-windowWidth)
	}
	to = min(from+windowWidth, len(line))
	return runeStart(line, from), runeStart(line, to)
}

// runeStart goes back to where the rune begins that an offset is in. In what is no UTF-8 each byte is one.
func runeStart(line []byte, offset int) int {
	for i := offset; i > offset-utf8.UTFMax && i >= 0 && i < len(line); i-- {
		if utf8.RuneStart(line[i]) {
			return i
		}
	}
	return offset
}

// visible keeps out of the terminal what it would obey, and what nobody would see: control bytes, marks of direction, odd spaces.
func visible(r rune) rune {
	if r == '\t' || unicode.IsPrint(r) {
		return r
	}
	return utf8.RuneError
}

// blank is as wide as r on a terminal.
func blank(r rune) string {
	switch {
	case r == '\t':
		return "\t"
	case unicode.Is(unicode.Mn, r):
		return ""
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
		return "  "
	}
	return " "
}
