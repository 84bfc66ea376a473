package conf

import (
	"maps"
	"slices"
	"testing"
)

// What the loader asks for while it reads real files, it must also ask for when it is probed: a key that is asked for only where another one
// has a certain value would be missing in docs/CONFIG.md, and in the hints.
func TestProbeFindsEveryKey(t *testing.T) {
	probed, asked := learn(), schema{}
	texts := []string{readExample(t)}
	for _, test := range good {
		texts = append(texts, test.text)
	}
	for _, a := range badArchives(t) {
		texts = append(texts, string(section(a, "f.toml").Data))
	}
	for _, text := range texts {
		src := newSource("f.toml", "/", 0, []byte(text))
		if values, places, mistake := decode(src); mistake == nil {
			l := newLoader("/f.toml")
			l.alone, l.noted = true, asked
			l.file(newTable(l, "", values, places))
		}
	}
	if len(asked) < 15 {
		t.Errorf("only %d tables were read: %q", len(asked), slices.Sorted(maps.Keys(asked)))
	}
	for path, keys := range asked {
		for _, key := range keys {
			if !slices.Contains(probed[path], key) {
				t.Errorf("the probe does not find %q in %s: ask for it whatever other keys say", key, called(path))
			}
		}
	}
}

// The words of other servers lead to keys that there are.
func TestWordsOfOtherServers(t *testing.T) {
	tables := learn()
	holds := func(key string) bool {
		for _, keys := range tables {
			if slices.Contains(keys, key) {
				return true
			}
		}
		return false
	}
	for theirs, ours := range abroad {
		if !holds(ours) {
			t.Errorf("%q leads to %q, which is no key", theirs, ours)
		}
	}
}
