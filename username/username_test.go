package username

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestCanonical(t *testing.T) {
	for typed, want := range map[string]string{
		"a": "a", " Alice ": "alice", "A.b_C@d-9": "a.b_c@d-9", "Bob+Test@Example.ORG": "bob+test@example.org", strings.Repeat("x", 64): strings.Repeat("x", 64),
		"ＡＬＩＣＥ": "alice", "ﾀﾅｶ": "タナカ", // width
		"\u212aay": "kay", // the Kelvin sign is a K
		"José":     "josé", "Jose\u0301": "josé", "ÜBER": "über", "Maße": "maße",
		"Иван": "иван", "ЙОГ": "йог", "И\u0306ог": "йог", "Ωμέγα": "ωμέγα", "王小明": "王小明", "田中さくラ": "田中さくラ", "김철수": "김철수", "小ㄅ": "小ㄅ", "דוד": "דוד",
		"иван@дом.9": "иван@дом.9", "प्रिया": "प्रिया", strings.Repeat("é", 64): strings.Repeat("é", 64),
		// No names:
		"": "", " ": "", strings.Repeat("x", 65): "", strings.Repeat("é", 65): "", strings.Repeat(" x", 600): "", "a b": "", "a/b": "", "a:b": "", "a\x00": "", "a,b": "", "a\n": "", "a\xff": "",
		"аlice": "", "aliсe": "", "αlice": "", "王a": "", "さ김": "", // letters of two scripts
		"сора": "", "ΟΡΑ": "", "аре@орс": "", // whole words in the image of Latin ones
		"ﬁsh": "", "①": "", "ａ\u200db": "", "a\u200bb": "", "a\u00adb": "", "a\u202eb": "", "١٢": "", "😀": "", "ª": "", "x²": "", "aʻb": "",
	} {
		got, err := Canonical(typed)
		if got != want || (want == "") != errors.Is(err, Err) {
			t.Errorf("%+q is %+q, %v, want %+q", typed, got, err, want)
		}
	}
}

// A canonical name is its own form, in NFKC, and has nothing in it that a list, a path, a header or a URL would read as something else.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"Alice", "ＡＬＩＣＥ", "Иван", "田中さくラ", "İ", "ΌΣΟΣ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		got, err := Canonical(typed)
		if err != nil {
			return
		}
		if again, err := Canonical(got); err != nil || again != got {
			t.Errorf("%+q is %+q, and that is %+q, %v", typed, got, again, err)
		}
		if norm.NFKC.String(got) != got || strings.ContainsAny(got, " ,:;/\\\"'\x00\r\n\t%#?=") {
			t.Errorf("%+q is %+q", typed, got)
		}
	})
}
