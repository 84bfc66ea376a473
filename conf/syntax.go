package conf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxText bounds a file's size: it keeps the depth of lists within what the parsers' stacks hold. Who has more to say includes files.
const maxText = 1 << 20

// decode parses a text twice: once for what it means, once for where it says so. The first parser is the judge of the syntax.
func decode(src *source) (map[string]any, *place, *Error) {
	if len(src.text) > maxText {
		return nil, nil, src.whole().Errorf("is larger than %d bytes", maxText)
	}
	var values map[string]any
	_, err := toml.Decode(string(src.text), &values)
	places, twice, otherErr := readPlaces(src)
	if err != nil {
		return nil, nil, syntaxError(src, err, twice)
	}
	return values, places, otherErr
}

// syntaxError says where the judge stopped. What stands twice it notices late, at the value's end: twice is that mistake, if there is one,
// with its own place.
func syntaxError(src *source, err error, twice *Error) *Error {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return src.whole().Errorf("is not TOML: %v", err)
	}
	at := src.pos(max(0, min(parse.Position.Start, len(src.text)))) // its line is another one where it stopped at a line's end
	if twice != nil && twice.Pos.Line <= at.Line {
		return twice
	}
	message := strings.TrimSuffix(parse.Message, ".")
	return at.Errorf("is not TOML: %s%s", message, syntaxHint(message))
}

// syntaxHint ends the judge's messages about what is often written.
func syntaxHint(message string) string {
	switch {
	case strings.HasPrefix(message, `expected value but found "`):
		return `; a text stands in quotes: "text"`
	case strings.HasPrefix(message, "expected '.' or '='"):
		return "; a key and its value are written: key = value"
	case strings.HasPrefix(message, "strings cannot contain newlines"):
		return "; the quote at the end may be missing"
	case strings.HasPrefix(message, "invalid escape"):
		return `; a backslash in "" is written \\, in '' it stands for itself`
	}
	return ""
}

// place is where one value stands: a mirror of the decoded maps and lists.
type place struct {
	key   Pos // of the key, of a list's element, of a header's first bracket
	value Pos // of what follows the "="; the same as key where there is none
	keys  map[string]*place
	items []*place

	defined bool // by a "=" or a header of its own, not only by what is below it
}

// of gives the place of a key's value; p itself where the parsers do not agree that there is one.
func (p *place) of(key string) *place {
	if c := p.keys[key]; c != nil {
		return c
	}
	return p
}

// item is of for the elements of a list.
func (p *place) item(i int) *place {
	if i < len(p.items) {
		return p.items[i]
	}
	return p
}

func (p *place) child(key string, at Pos) *place {
	c := p.keys[key]
	if c == nil {
		c = &place{key: at, value: at, keys: map[string]*place{}}
		p.keys[key] = c
	}
	return c
}

func (p *place) addItem(at Pos) *place {
	c := &place{key: at, value: at, keys: map[string]*place{}}
	p.items = append(p.items, c)
	return c
}

// current is where a header's path goes on: in the last table of an array of tables.
func (p *place) current() *place {
	if n := len(p.items); n > 0 {
		return p.items[n-1]
	}
	return p
}

// placer walks a text's keys in their order and notes where they stand.
type placer struct {
	src    *source
	twice  *Error // the first key or table that stands twice
	parser unstable.Parser
}

// readPlaces returns the places in a text, what stands in it twice, and what its parser found wrong with it.
func readPlaces(src *source) (root *place, twice, mistake *Error) {
	p := &placer{src: src}
	whole := src.whole()
	root = &place{key: whole, value: whole, keys: map[string]*place{}}
	at := root
	p.parser.Reset(src.text)
	for p.parser.NextExpression() {
		switch n := p.parser.Expression(); n.Kind {
		case unstable.Table, unstable.ArrayTable:
			at = p.header(root, n)
		case unstable.KeyValue:
			p.keyValue(at, n)
		}
	}
	return root, p.twice, p.syntaxError()
}

func (p *placer) syntaxError() *Error {
	err := p.parser.Error()
	var parse *unstable.ParserError
	if errors.As(err, &parse) && len(parse.Highlight) > 0 {
		return p.src.pos(int(p.parser.Range(parse.Highlight).Offset)).Errorf("is not TOML: %s", parse.Message)
	}
	if err != nil {
		return p.src.whole().Errorf("is not TOML: %v", err)
	}
	return nil
}

// already notes what stands twice; only the first such thing counts.
func (p *placer) already(at Pos, what string, first Pos) {
	if p.twice == nil {
		p.twice = at.Errorf("%s is already at %v", what, first)
	}
}

// header follows "[a.b]" or "[[a.b]]" from the root and returns where its keys go.
func (p *placer) header(root *place, n *unstable.Node) *place {
	at, here := root, p.headerPos(n)
	for keys := n.Key(); keys.Next(); {
		name := string(keys.Node().Data)
		at = at.child(name, here)
		if !keys.IsLast() {
			at = at.current()
			continue
		}
		if at.defined {
			p.already(here, fmt.Sprintf("%q", name), at.key)
		}
		if n.Kind == unstable.ArrayTable {
			return at.addItem(here)
		}
		at.key, at.value, at.defined = here, here, true // it may stand after its sub-tables
	}
	return at
}

// headerPos is the place of a header's first bracket, which the parser does not keep.
func (p *placer) headerPos(n *unstable.Node) Pos {
	offset := bytes.LastIndexByte(p.src.text[:n.Child().Raw.Offset], '[')
	if n.Kind == unstable.ArrayTable {
		offset--
	}
	return p.src.pos(offset)
}

func (p *placer) keyValue(at *place, n *unstable.Node) {
	end := 0
	for keys := n.Key(); keys.Next(); {
		k := keys.Node()
		name, here := string(k.Data), p.src.pos(int(k.Raw.Offset))
		if first := at.keys[name]; first != nil && keys.IsLast() {
			p.already(here, fmt.Sprintf("%q", name), first.key)
		}
		at = at.child(name, here)
		end = int(k.Raw.Offset + k.Raw.Length)
	}
	at.defined = true
	rest := p.src.text[end:]
	at.value = p.src.pos(end + len(rest) - len(bytes.TrimLeft(rest, " \t=")))
	p.inside(at, n.Value())
}

// inside notes the places within a list or an inline table.
func (p *placer) inside(at *place, n *unstable.Node) {
	for children := n.Children(); children.Next(); {
		c := children.Node()
		switch {
		case c.Kind == unstable.KeyValue:
			p.keyValue(at, c)
		case c.Raw.Length > 0:
			p.inside(at.addItem(p.src.pos(int(c.Raw.Offset))), c)
		default: // a list in a list: the parser does not say where
			p.inside(at.addItem(at.value), c)
		}
	}
}
