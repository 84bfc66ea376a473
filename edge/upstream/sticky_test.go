package upstream

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge/conf"
)

func stickySpec(name string, targets ...string) *conf.Upstream {
	s := spec(targets...)
	s.Name, s.Sticky = name, "edge_target"
	return s
}

// identified gives the IDs of an upstream's targets, as a generation or another start makes them.
func identified(t *testing.T, dir string, s *conf.Upstream) (ids []string) {
	t.Helper()
	set := draft(t, nil, s)
	if err := set.Identify(dir); err != nil {
		t.Fatal(err)
	}
	for _, target := range set[s].targets {
		if set[s].ByID([]byte(target.ID)) != target {
			t.Errorf("%s is not found by its id", target.Name)
		}
		ids = append(ids, target.ID)
	}
	return ids
}

// A target's id is the same in every generation and after a restart, also where the others change; each has its own, and tells nothing of the
// address to who has not got the key.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	ids := identified(t, dir, stickySpec("up", "http://10.0.0.1:80", "http://10.0.0.2:80", "h2c://10.0.0.1:80"))
	again := identified(t, dir, stickySpec("up", "http://10.0.0.3:80", "http://10.0.0.2:80"))
	if again[1] != ids[1] {
		t.Errorf("%q, and later %q", ids, again)
	}
	if ids[0] == ids[1] || ids[0] == ids[2] || ids[0] == again[0] || len(ids[0]) != 16 {
		t.Errorf("the ids are %q, %q", ids, again)
	}
	if other := identified(t, t.TempDir(), stickySpec("up", "http://10.0.0.1:80")); other[0] == ids[0] {
		t.Error("without the key the id is the same")
	}
	info, err := os.Stat(filepath.Join(dir, "sticky.key"))
	if err != nil || info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("the key is %v, %v", info, err)
	}
	plain := spec("http://a")
	set := draft(t, nil, plain)
	if err := set.Identify(filepath.Join(dir, "missing")); err != nil || set[plain].targets[0].ID != "" || set[plain].ByID(nil) != nil {
		t.Errorf("nobody asked for a cookie: %q, %v", set[plain].targets[0].ID, err)
	}
}

func TestIdentifyFails(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sticky.key"), []byte("short"))
	for dir, want := range map[string]string{dir: "sticky.key has 5 bytes, want 32", filepath.Join(dir, "missing"): "no such file"} {
		if err := draft(t, nil, stickySpec("up", "http://a")).Identify(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// The target that a client was led to comes before all others, unless it is aside, or full where nobody waits; it takes nobody's turn.
func TestStick(t *testing.T) {
	u := narrow(t, 3, 0, "http://a", "http://b", "http://c")
	u.maxFails, u.failTimeout = maxFails, failTimeout
	b := u.targets[1]
	take := func() string {
		turn, err := u.Take(anybody{}, nil, b)
		if err != nil {
			t.Fatal(err)
		}
		return turn.Name
	}
	if got := take() + take() + u.Pick(nil).Name + take(); got != "bbab" {
		t.Errorf("picked %q", got)
	}
	if got := take(); got == "b" {
		t.Error("a full one is picked")
	}
	b.inFlight.Store(0)
	fails(b)
	if got := take(); got == "b" {
		t.Error("one that is aside is picked")
	}
}
