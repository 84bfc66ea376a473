package conf

import (
	"bytes"
	"errors"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxText bounds a configuration's size: no real one comes near it, and it keeps the depth of lists within what the parsers' stacks hold.
const maxText = 1 << 20

// decode parses text twice: once for what it means, once for where it says so. The first parser is the judge of the syntax.
func decode(file string, text []byte) (map[string]any, *place, *Error) {
	whole := Pos{File: file}
	if len(text) > maxText {
		return nil, nil, whole.Errorf("is larger than %d bytes", maxText)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // some editors begin UTF-8 with a byte order mark
	var values map[string]any
	if _, err := toml.Decode(string(text), &values); err != nil {
		return nil, nil, syntaxError(whole, err)
	}
	places, mistake := readPlaces(file, text)
	return values, places, mistake
}

func syntaxError(whole Pos, err error) *Error {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return whole.Errorf("is not TOML: %v", err)
	}
	at := Pos{File: whole.File, Line: parse.Position.Line, Column: parse.Position.Col}
	return at.Errorf("is not TOML: %s", strings.TrimSuffix(parse.Message, "."))
}

// place is where one value stands: a mirror of the decoded maps and lists.
type place struct {
	key   Pos // of the key, of a list's element, of a header's first bracket
	value Pos // of what follows the "="; the same as key where there is none
	keys  map[string]*place
	items []*place
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
	file   string
	text   []byte
	starts []int // offset of each line
	parser unstable.Parser
}

// readPlaces returns the places in text, or what its parser found wrong with it.
func readPlaces(file string, text []byte) (*place, *Error) {
	p := &placer{file: file, text: text, starts: []int{0}}
	for i, c := range text {
		if c == '\n' {
			p.starts = append(p.starts, i+1)
		}
	}
	whole := Pos{File: file}
	root := &place{key: whole, value: whole, keys: map[string]*place{}}
	at := root
	p.parser.Reset(text)
	for p.parser.NextExpression() {
		switch n := p.parser.Expression(); n.Kind {
		case unstable.Table, unstable.ArrayTable:
			at = p.header(root, n)
		case unstable.KeyValue:
			p.keyValue(at, n)
		}
	}
	return root, p.syntaxError()
}

func (p *placer) syntaxError() *Error {
	err := p.parser.Error()
	var parse *unstable.ParserError
	if errors.As(err, &parse) && len(parse.Highlight) > 0 {
		return p.pos(int(p.parser.Range(parse.Highlight).Offset)).Errorf("is not TOML: %s", parse.Message)
	}
	if err != nil {
		return Pos{File: p.file}.Errorf("is not TOML: %v", err)
	}
	return nil
}

// pos gives an offset's line and column. Columns count bytes, as compilers do.
func (p *placer) pos(offset int) Pos {
	line := sort.SearchInts(p.starts, offset+1)
	return Pos{File: p.file, Line: line, Column: offset - p.starts[line-1] + 1}
}

// header follows "[a.b]" or "[[a.b]]" from the root and returns where its keys go.
func (p *placer) header(root *place, n *unstable.Node) *place {
	at, here := root, p.headerPos(n)
	for keys := n.Key(); keys.Next(); {
		at = at.child(string(keys.Node().Data), here)
		if !keys.IsLast() {
			at = at.current()
			continue
		}
		if n.Kind == unstable.ArrayTable {
			return at.addItem(here)
		}
		at.key, at.value = here, here // it may stand after its sub-tables
	}
	return at
}

// headerPos is the place of a header's first bracket, which the parser does not keep.
func (p *placer) headerPos(n *unstable.Node) Pos {
	offset := bytes.LastIndexByte(p.text[:n.Child().Raw.Offset], '[')
	if n.Kind == unstable.ArrayTable {
		offset--
	}
	return p.pos(offset)
}

func (p *placer) keyValue(at *place, n *unstable.Node) {
	end := 0
	for keys := n.Key(); keys.Next(); {
		k := keys.Node()
		at = at.child(string(k.Data), p.pos(int(k.Raw.Offset)))
		end = int(k.Raw.Offset + k.Raw.Length)
	}
	rest := p.text[end:]
	at.value = p.pos(end + len(rest) - len(bytes.TrimLeft(rest, " \t=")))
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
			p.inside(at.addItem(p.pos(int(c.Raw.Offset))), c)
		default: // a list in a list: the parser does not say where
			p.inside(at.addItem(at.value), c)
		}
	}
}
