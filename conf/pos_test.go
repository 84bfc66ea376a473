package conf

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// A mistake that is made long after the file was read shows its line all the same.
func TestExplainLater(t *testing.T) {
	c := parse(t, "[[certificate]]\r\n\tcert = \"a.pem\"\r\nkey = \"b.pem\"\r\n"+http)
	e := c.Certificates[0].Cert.Pos.Errorf("certificate %s: is away", "a.pem")
	if got, want := e.Explain(), "/etc/edge/edge.toml:2:9: certificate a.pem: is away\n    \tcert = \"a.pem\"\n    \t       ^"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := e.Error(); got != "/etc/edge/edge.toml:2:9: certificate a.pem: is away" {
		t.Error(got)
	}
	both := Errors{Pos{File: "x"}.Errorf("is away"), e}
	if got := both.Explain(); got != "x: is away\n"+e.Explain() {
		t.Error(got)
	}
}

// A Pos that no file was read for is explained by what it says alone.
func TestExplainWithoutALine(t *testing.T) {
	for _, p := range []Pos{{File: "f.toml", Line: 3, Column: 1}, newSource("f.toml", "/", 0, []byte("a")).whole()} {
		if e := p.Errorf("is bad"); e.Explain() != e.Error() {
			t.Error(e.Explain())
		}
	}
}

func TestMessagesAreOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb":                         "a; b",
		"a\x1b[31m\r\u202e\ufeff":      "a\ufffd[31m\ufffd\ufffd\ufffd",
		"\xff é\t日":                    "\ufffd é\t日",
		strings.Repeat("é", 600):       strings.Repeat("é", 512) + "…",
		"a" + strings.Repeat("é", 600): "a" + strings.Repeat("é", 511) + "…",
	} {
		if got := (Pos{}).Errorf("%s", in).Msg; got != want {
			t.Errorf("%.20q is %.20q, want %.20q", in, got, want)
		}
	}
}

func TestSort(t *testing.T) {
	main, other := newSource("b.toml", "/", 0, []byte("1\n2\n")), newSource("a.toml", "/", 1, []byte("1\n2\n"))
	es := Errors{other.pos(0).Errorf("d"), main.pos(2).Errorf("b"), main.pos(2).Errorf("c"), main.whole().Errorf("a")}
	es.Sort()
	if got := es.Error(); got != "b.toml: a\nb.toml:2:1: b\nb.toml:2:1: c\na.toml:1:1: d" {
		t.Error(got)
	}
}

// What is shown of a line is bounded, whatever the line is, and holds the place.
func TestWindow(t *testing.T) {
	for name, line := range map[string][]byte{
		"ASCII":      bytes.Repeat([]byte("a"), 1000),
		"runes":      bytes.Repeat([]byte("日"), 333),
		"no UTF-8":   bytes.Repeat([]byte("\x8e"), 1000),
		"half of it": append(bytes.Repeat([]byte("\x8e"), 500), bytes.Repeat([]byte("é"), 250)...),
	} {
		for at := range len(line) + 1 {
			from, to := window(line, at)
			if from < 0 || to > len(line) || from > at || at > to || to-from > windowWidth+utf8.UTFMax || to-from < windowWidth-utf8.UTFMax {
				t.Fatalf("%s: %d is in %d to %d", name, at, from, to)
			}
			if utf8.Valid(line) && !utf8.Valid(line[from:to]) {
				t.Fatalf("%s: %d to %d parts a rune", name, from, to)
			}
		}
	}
}
