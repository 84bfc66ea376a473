package guard

import (
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/wire"
	"edge/sessions"
)

// An upgrade that passed may stay as long as it would pass again, and a store that does not answer is waited for, but not for ever.
func TestUpgradeHolds(t *testing.T) {
	alice := &sessions.Identity{User: "alice", Groups: []string{"staff"}}
	var who *sessions.Identity
	var err error
	f := &fake{t: t, later: func() (*sessions.Identity, error) { return who, err }}
	got := ask(t, f, 1, "", with(socket, "Cookie", "s=alice"), conf.Access{Groups: []string{"staff"}})
	if !got.passed || got.holds == nil {
		t.Fatalf("%+v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			what string
			who  *sessions.Identity
			err  error
			wait time.Duration
			want bool
		}{
			{"in the group", alice, nil, 0, true},
			{"store down", nil, errDown, 0, true},
			{"still down", nil, errDown, unheard - time.Second, true},
			{"up again", alice, nil, 0, true},
			{"down anew", nil, errDown, time.Hour, true},
			{"for long", nil, errDown, unheard, false},
			{"group left", &sessions.Identity{User: "alice"}, nil, 0, false},
			{"session ended", nil, nil, 0, false},
		} {
			time.Sleep(c.wait)
			if who, err = c.who, c.err; got.holds() != c.want {
				t.Errorf("%s: it is %v", c.what, !c.want)
			}
		}
	})
	for what, got := range map[string]result{
		"no upgrade":     ask(t, f, 1, "", with(nil, "Cookie", "s=alice"), conf.Access{Login: true}),
		"public upgrade": ask(t, f, 1, "", socket, conf.Access{Public: true}),
	} {
		if got.holds != nil {
			t.Errorf("%s is watched", what)
		}
	}
}

// known is a store that knows everybody and does nothing else.
type known struct {
	Sessions
	who *sessions.Identity
}

func (k *known) Lookup([]byte, string) (*sessions.Identity, error) { return k.who, nil }
func (k *known) Assert(*sessions.Identity, string) (string, error) { return "token", nil }

// silent takes an answer.
type silent struct{ wire.Responder }

func (silent) Head(int, wire.Fields, int64) error { return nil }

// Letting somebody pass who is known allocates nothing.
func TestPassIsFree(t *testing.T) {
	store := &known{who: &sessions.Identity{User: "alice", Groups: []string{"staff"}}}
	engine := wire.Responder(silent{})
	fields := wire.Fields{}.Add("cookie", "a=b")
	answer := make(wire.Fields, 0, 8)
	x := &wire.Exchange{Record: &record.Record{}}
	access := conf.Access{Groups: []string{"ops", "staff"}}
	if n := testing.AllocsPerRun(100, func() {
		x.Fields, x.Responder = fields, engine
		if !Pass(x, store, "app", access, nil) || x.Head(200, answer, 0) != nil {
			t.Fatal("alice does not pass")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What lets an upgrade stay is the rule of now: by another one somebody else may stay. Where there is none any more, the last there was goes on.
func TestHoldsByTheRuleOfNow(t *testing.T) {
	staff := conf.Access{Groups: []string{"staff"}}
	alice := &sessions.Identity{User: "alice", Groups: []string{"staff"}, Level: sessions.AAL1}
	who, later := alice, &fake{t: t}
	later.later = func() (*sessions.Identity, error) { return who, nil }
	var now conf.Access
	var there bool
	f := &fake{t: t}
	f.rules = func(at Place) (Sessions, conf.Access, bool) {
		if at != (Place{"", "app", "app.test", "/a%2Fb"}) {
			t.Errorf("it is asked about %+v", at)
		}
		return later, now, there
	}
	for _, c := range []struct {
		what  string
		now   conf.Access
		there bool
		who   *sessions.Identity
		want  bool
	}{
		{"the same", staff, true, alice, true},
		{"another group", conf.Access{Groups: []string{"ops"}}, true, alice, false},
		{"by name", conf.Access{Users: []string{"alice"}}, true, alice, true},
		{"nobody", conf.Access{}, true, alice, false},
		{"second factor", conf.Access{Login: true, SecondFactor: true}, true, alice, false},
		{"public", conf.Access{Public: true}, true, alice, true},
		{"public, session ended", conf.Access{Public: true}, true, nil, false},
		{"gone", conf.Access{}, false, alice, true},
		{"gone, and she left the group", conf.Access{}, false, &sessions.Identity{User: "alice"}, false},
	} {
		got := ask(t, f, 1, "", with(socket, "Cookie", "s=alice"), staff)
		if got.holds == nil {
			t.Fatal("it is not watched")
		}
		now, there, who = staff, true, alice
		if !got.holds() {
			t.Errorf("%s: it ends before", c.what)
		}
		if now, there, who = c.now, c.there, c.who; got.holds() != c.want {
			t.Errorf("%s: it is %v", c.what, !c.want)
		}
	}
	got := ask(t, f, 1, "", with(socket, "Cookie", "s=alice"), staff)
	if now, there, who = (conf.Access{Login: true}), true, (&sessions.Identity{User: "alice"}); !got.holds() {
		t.Error("it ends though all may pass")
	}
	if there = false; !got.holds() {
		t.Error("what is gone goes by the first rule, not by the last")
	}
}
