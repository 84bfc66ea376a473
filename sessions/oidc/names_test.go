package oidc

import (
	"testing"

	"edge/sessions"
)

// A name by which the configuration lets somebody in is not given to who comes from elsewhere, unless an administrator has linked it, nor is an e-mail
// address that is not verified.
func TestNamesNobodyGetsElsewhere(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	for name, want := range map[string]struct {
		status int
		reason string
	}{
		"Boss": {409, "this name is taken"}, "boss@corp.test": {403, "may not be used here"}, "boss\uff20corp.test": {403, "may not be used here"},
	} {
		w.idp.set(func() { w.idp.user["preferred_username"] = name })
		b.refused(b.enter(), want.status, want.reason)
	}
	w.idp.set(func() { w.idp.user["email_verified"], w.idp.user["preferred_username"] = false, "carol@corp.test" })
	b.refused(b.enter(), 403, "may not be used here")
	w.idp.set(func() { w.idp.user["email_verified"] = true })
	b.sees(b.enter(), "carol@corp.test of [] at level 1 at /page?x=1")

	w.account("boss", "")
	w.idp.set(func() { w.idp.user["sub"], w.idp.user["preferred_username"] = "sub-2", "boss" })
	if err := w.users.Link(ctx, "boss", sessions.Origin{Issuer: w.at.Issuer, Subject: "sub-2"}); err != nil {
		t.Fatal(err)
	}
	boss := w.browser()
	boss.sees(boss.enter(), "boss of [] at level 1 at /page?x=1")
}
