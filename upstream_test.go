package main

import "testing"

// A target whose name does not resolve is a warning at the start, after a reload and in a new generation, and a 502; it keeps nobody from
// starting, and no other vhost from answering.
func TestUnresolvedTarget(t *testing.T) {
	app := relayTo(webApp(t))
	bad := "[[vhost]]\nhosts = [\"bad.localhost\"]\nlisteners = [\"http\"]\nproxy = \"http://does-not-exist.invalid:1\"\n"
	p := start(t, "edge", config+app+bad)
	again := config + app + bad + "# again\n"
	const warning = `level=WARN msg="target has no address" upstream=http://does-not-exist.invalid:1 target=does-not-exist.invalid:1 error="lookup does-not-exist.invalid`
	p.waitLog(warning)
	wants(t, p.curl("http", "bad.localhost", "/", "-i"), " 502")
	wants(t, p.curl("http", "app.localhost", "/ok"), `"uri":"/ok"`)
	write(t, p.dir, again) // what is the same would not be looked at
	p.reload()
	p.waitLogs(warning, 2)
	p.upgrade()
	p.waitLogs(warning, 3)
	wants(t, p.curl("http", "bad.localhost", "/", "-i"), " 502")
}

// A target that is dead costs nobody an answer: it is set aside, told of once in its generation, and what is known of it is kept over a reload
// that does not concern it.
func TestDeadTarget(t *testing.T) {
	up := "[[upstream]]\nname = \"two\"\ntargets = [\"http://127.0.0.1:1\", \"http://" + webApp(t) + "\"]\nbalance = \"least_connections\"\nfail_timeout = \"1h\"\n" +
		"[[vhost]]\nhosts = [\"two.localhost\"]\nlisteners = [\"http\"]\nproxy = \"two\"\n"
	dir := t.TempDir()
	p := startIn(t, dir, "edge", config+up)
	for range 2 {
		for range 8 {
			wants(t, p.curl("http", "two.localhost", "/ok"), `"uri":"/ok"`)
		}
		p.waitLog(`msg="target set aside" upstream=two target=127.0.0.1:1 for=1h0m0s error="dial tcp 127.0.0.1:1: connect: connection refused"`)
		write(t, dir, "# moved by a line\n"+config+up)
		p.reload()
	}
	if n := p.count("target set aside"); n != 1 {
		t.Errorf("it is told of %d times", n)
	}
}
