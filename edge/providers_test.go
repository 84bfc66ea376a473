package edge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge/conf"
)

// A provider's authorities that cannot be read are told by edge check at their place. The provider itself is not asked.
func TestCheckProviders(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.toml")
	text := `state_dir = "state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[certificate]]
hosts = "localhost"
issuer = "dev"
[login]
host = "login.localhost"
[[login.provider]]
name = "corp"
issuer = "https://nowhere.invalid"
client_id = "edge"
`
	check := func(more string) error {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+more), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := conf.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return Check(cfg)
	}
	if err := check(""); err != nil {
		t.Error(err)
	}
	if err := check(`ca = "ca.pem"`); err == nil || !strings.Contains(err.Error(), "edge.toml:15:6: ca: open ") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(`ca = "ca.pem"`); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("no certificate: %v", err)
	}
}
