package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// finding is one of testssl's.
type finding struct{ ID, Severity, Finding string }

// scan has testssl look at the https listener.
func (p *proc) scan(args ...string) (list []finding) {
	p.t.Helper()
	out := filepath.Join(p.t.TempDir(), "found.json")
	host, port, _ := strings.Cut(p.addr("https"), ":")
	args = append(args, "--quiet", "--color", "0", "--warnings", "batch", "--ip", host, "--jsonfile", out, "app.localhost:"+port)
	said, err := exec.Command(tool(p.t, "testssl"), args...).CombinedOutput() // its exit status counts what it found
	text, readErr := os.ReadFile(out)
	if readErr != nil {
		p.t.Fatalf("testssl: %v\n%s", err, said)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		p.t.Fatal(err)
	}
	return list
}

// grave gives what is worse than LOW, but for the development certificate's lack of a way to revoke it.
func grave(list []finding) (found []finding) {
	for _, f := range list {
		if slices.Contains([]string{"MEDIUM", "HIGH", "CRITICAL", "FATAL"}, f.Severity) && f.ID != "cert_revocation" {
			found = append(found, f)
		}
	}
	return found
}

// TestScan has testssl look for what is known to be weak in TLS.
func TestScan(t *testing.T) {
	doc := os.Getenv("CONFORMANCE")
	if doc == "" {
		t.Skip("two minutes: part of `make conformance`")
	}
	p := start(t, "edge", config+"[[vhost]]\nhosts = [\"app.localhost\"]\necho = true\n")
	list := p.scan("--add-ca", filepath.Join(p.dir, "certs", "ca.pem"))
	for _, f := range grave(list) {
		t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
	}
	b := new(strings.Builder)
	fmt.Fprintf(b, "Of %d findings none is worse than LOW. The LOW ones:\n\n", len(list))
	for _, f := range list {
		if f.Severity == "LOW" {
			fmt.Fprintf(b, "- %s: %s\n", f.ID, f.Finding)
		}
	}
	for _, id := range []string{"TLS1", "TLS1_1", "TLS1_3", "cipherlist_3DES_IDEA", "cert_chain_of_trust", "heartbleed", "ROBOT", "secure_client_renego", "LUCKY13"} {
		if !slices.ContainsFunc(list, func(f finding) bool { return f.ID == id }) {
			t.Errorf("testssl says nothing of %s", id)
		}
	}
	untrusted := grave(p.scan("--server-defaults"))
	if len(untrusted) != 1 || untrusted[0].ID != "cert_chain_of_trust" {
		t.Errorf("without the authority it finds %v: the scan sees nothing", untrusted)
	}
	if !t.Failed() {
		put(t, doc, "tls", b.String())
	}
}
