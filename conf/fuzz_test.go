package conf

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
)

// FuzzParse looks for a text that panics, that is refused without a place in it, or of which more is said than anybody reads.
func FuzzParse(f *testing.F) {
	for _, table := range allBad {
		for _, test := range table {
			if len(test.text) < maxText {
				f.Add([]byte(test.text))
			}
		}
	}
	for _, a := range badArchives(f) {
		f.Add(section(a, "f.toml").Data)
	}
	for _, test := range good {
		f.Add([]byte(test.text))
	}
	f.Add([]byte(readExample(f)))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f.toml", text)
		if err == nil {
			if c == nil || len(c.Listeners) == 0 {
				t.Fatal("no error, and nothing to listen on")
			}
			return
		}
		var mistakes Errors
		if !errors.As(err, &mistakes) || len(mistakes) == 0 || c != nil {
			t.Fatalf("config %v, error %T: %v", c, err, err)
		}
		if len(mistakes) > maxMistakes+1 {
			t.Errorf("%d mistakes", len(mistakes))
		}
		lines := bytes.Split(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), []byte("\n"))
		for i, e := range mistakes {
			checkMistake(t, e, lines)
			if i > 0 && e.Pos.compare(mistakes[i-1].Pos) < 0 {
				t.Errorf("%v stands after %v", e, mistakes[i-1])
			}
		}
	})
}

// checkMistake looks for the place of a mistake in the text, of which these are the lines, and at what is said.
func checkMistake(t *testing.T, e *Error, lines [][]byte) {
	t.Helper()
	p := e.Pos
	inside := p.Line == 0 && p.Column == 0 || p.Line >= 1 && p.Line <= len(lines) && p.Column >= 1 && p.Column <= len(lines[p.Line-1])+1
	if p.File != "f.toml" || e.Msg == "" || !inside {
		t.Errorf("%v is no place, or nothing is said: %q", p, e.Msg)
	}
	said := e.Explain()
	parts := strings.Split(said, "\n")
	if strings.ContainsFunc(strings.NewReplacer("\n", "", "\t", "").Replace(said), unicode.IsControl) || len(parts) > 1 && len(parts) != 3 ||
		len(said) > len(p.String())+maxMessage+8*windowWidth {
		t.Errorf("%q", said)
	}
	if len(parts) == 3 && strings.Trim(parts[2], " \t") != "^" {
		t.Errorf("no caret:\n%s", said)
	}
}
