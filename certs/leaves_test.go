package certs

import "testing"

// Each certificate in force comes once, whatever it is for; one that two tables name, too.
func TestLeaves(t *testing.T) {
	one, two := write(t, newECDSA(t), 90*day, "b.test", "z.test"), write(t, newECDSA(t), 90*day, "a.test", "*.c.test")
	got := load(t, nil, one, two, one).Leaves()
	if len(got) != 2 || !got[0].Equal(parse(t, two)) || !got[1].Equal(parse(t, one)) {
		t.Errorf("%d certificates", len(got))
	}
}
