package main

import (
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// promtool finds nothing to say about the metrics of an edge that has done a little of everything.
func TestPromtool(t *testing.T) {
	inConformance(t)
	app := httptest.NewServer(onePage)
	defer app.Close()
	p := startIn(t, t.TempDir(), "edge", strings.NewReplacer("APP", app.URL, "BYTES", app.Listener.Addr().String()).Replace(clientSite)+
		"[[listener]]\nname = \"metrics\"\naddress = \"127.0.0.4:0\"\nprotocol = \"metrics\"\n")
	wants(t, p.curl("https", "localhost", "/"), "page")
	wants(t, p.curl("tcp", "localhost", "/"), "page")
	p.reload()
	text := p.curl("metrics", "localhost", "/metrics")
	wants(t, text, "\nedge_")
	cmd := exec.Command(tool(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
