package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a configuration file. Line and Column count from 1, columns in bytes; a Pos without a line means the file as a whole.
type Pos struct {
	File         string
	Line, Column int

	source *source // the file's text; nil where a Pos was not read from one
}

// String gives "file:line:column", which editors and terminals know how to open.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Errorf makes a mistake at this place.
func (p Pos) Errorf(format string, args ...any) *Error {
	return &Error{Pos: p, Msg: oneLine(fmt.Sprintf(format, args...))}
}

// compare is the order of a configuration: its main file, then the included ones as they were read; in a file from the top down.
func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.source.place(), q.source.place()), strings.Compare(p.File, q.File),
		cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Error is one mistake and its place.
type Error struct {
	Pos Pos
	Msg string // lower case, one line; says what is wrong and what would be right
}

// Error gives the place and the message in one line, for a log.
func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Explain gives the same for people: below it the line of the file, as it was when it was read, and a caret under the place. A secret
// that was read in that line is hidden.
func (e *Error) Explain() string {
	if e.Pos.source == nil || e.Pos.Line == 0 {
		return e.Error()
	}
	return e.Error() + "\n" + e.Pos.source.excerpt(e.Pos)
}

// Errors is every mistake that was found, in the order of their places.
type Errors []*Error

// Error gives one mistake a line.
func (es Errors) Error() string { return es.join((*Error).Error) }

// Explain explains each mistake.
func (es Errors) Explain() string { return es.join((*Error).Explain) }

func (es Errors) join(write func(*Error) string) string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = write(e)
	}
	return strings.Join(parts, "\n")
}

// Sort puts the mistakes in the order of their places, in place. Those of one place stay as they are.
func (es Errors) Sort() {
	slices.SortStableFunc(es, func(a, b *Error) int { return a.Pos.compare(b.Pos) })
}

// maxMistakes bounds what is said about one configuration: whoever has mended so many asks again.
const maxMistakes = 100

// bounded gives the first mistakes, sorted, and says how many more there are and where they begin.
func (es Errors) bounded() Errors {
	es.Sort()
	if more := len(es) - maxMistakes; more > 0 {
		return append(es[:maxMistakes:maxMistakes], es[maxMistakes].Pos.Errorf("from here on there are more mistakes: %d", more))
	}
	return es
}

// maxMessage bounds a message, in bytes: it may quote a value, and a value may be as long as the file.
const maxMessage = 1 << 10

// oneLine keeps a message to one line of bounded length, without anything that a terminal would obey: it may quote a key as it stands in
// the file.
func oneLine(msg string) string {
	msg = strings.Map(visible, strings.ReplaceAll(msg, "\n", "; "))
	if len(msg) > maxMessage {
		msg = strings.ToValidUTF8(msg[:maxMessage], "") + "…"
	}
	return msg
}
