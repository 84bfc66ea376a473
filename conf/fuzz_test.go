package conf

import (
	"errors"
	"os"
	"testing"
)

// FuzzParse looks for a text that panics, or that is refused without saying where.
func FuzzParse(f *testing.F) {
	for _, table := range allBad {
		for _, test := range table {
			if len(test.text) < maxText {
				f.Add([]byte(test.text))
			}
		}
	}
	for _, a := range badFiles(f) {
		f.Add(section(a, "f.toml").Data)
	}
	for _, test := range good {
		f.Add([]byte(test.text))
	}
	if example, err := os.ReadFile("edge.toml"); err == nil {
		f.Add(example)
	}
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
		for i, e := range mistakes {
			if e.Pos.File == "" || e.Msg == "" || e.Pos.Line > 0 && e.Pos.Column < 1 {
				t.Errorf("a mistake without a place or a message: %+v", e)
			}
			if i > 0 && e.Pos.compare(mistakes[i-1].Pos) < 0 {
				t.Errorf("%v stands after %v", e, mistakes[i-1])
			}
		}
	})
}
