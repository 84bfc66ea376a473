package conf

import (
	"fmt"
	"strings"
)

// Pos is a place in a configuration file. Line and Column count from 1; a Pos without a line means the file as a whole.
type Pos struct {
	File         string
	Line, Column int
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
	return &Error{Pos: p, Msg: fmt.Sprintf(format, args...)}
}

// Error is one mistake and its place.
type Error struct {
	Pos Pos
	Msg string // lower case, says what is wrong and what would be right
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Errors is every mistake that was found, in the order of their places.
type Errors []*Error

// Error gives one mistake a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
