package certs

import (
	"os"
	"testing"

	"edge/conf"
)

// A certificate whose files hold what they held is not parsed again; one whose chain or key has changed is, and so is one that is new.
func TestReload(t *testing.T) {
	same, changed := write(t, newECDSA(t), 90*day, "same.test"), write(t, newECDSA(t), 90*day, "changed.test")
	old := load(t, nil, same, changed)
	renewed, added := write(t, newECDSA(t), 90*day, "changed.test"), write(t, newECDSA(t), 90*day, "added.test")
	for from, to := range map[string]string{renewed.Cert.Path: changed.Cert.Path, renewed.Key.Path: changed.Key.Path} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	store, err := Reload(old, []*conf.Certificate{same, changed, added}, nil, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if store.byName["same.test"][0].Leaf != old.byName["same.test"][0].Leaf {
		t.Error("what has not changed was parsed again")
	}
	if store.byName["changed.test"][0].Leaf.Equal(old.byName["changed.test"][0].Leaf) || !store.byName["changed.test"][0].Leaf.Equal(parse(t, changed)) {
		t.Error("what has changed was not read")
	}
	if err := os.WriteFile(same.Key.Path, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Reload(store, []*conf.Certificate{same}, nil, epoch); err == nil {
		t.Error("a key that is none is taken, as its certificate was known")
	}
	if again, err := Reload(store, []*conf.Certificate{added}, nil, epoch); err != nil || len(again.pairs) != 1 {
		t.Errorf("what is not in force any more is kept: %d, %v", len(again.pairs), err)
	}
}
