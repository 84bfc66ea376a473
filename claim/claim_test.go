package claim

import "testing"

// A name that an upstream may take for one of ours is one of ours.
func TestIs(t *testing.T) {
	for name, want := range map[string]bool{
		"forwarded": true, "x-forwarded-for": true, "x_forwarded_for": true, "x.forwarded-anything": true, "remote-user": true, "remote_user_": true,
		"x-real-ip": true, "proxy": true, "x-edge-user": true,
		"x-forwarded": true, "forwarded-for": true, "wl-proxy-client-ip": true, "http_client_ip": true, "http_x_forwarded_for": true,
		"accept": false, "remote": false, "authorization": false, "": false, "--": false,
	} {
		if Is([]byte(name)) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestFold(t *testing.T) {
	if got := string(Fold([]byte("kept-"), []byte("x_env.1-_"))); got != "kept-x-env-1" {
		t.Errorf("got %q", got)
	}
	name := []byte("x_env")
	if n := testing.AllocsPerRun(100, func() { Is(name) }); n > 0 || string(name) != "x_env" {
		t.Errorf("%v allocations, and the name is %q now", n, name)
	}
}
