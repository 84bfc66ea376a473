package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func init() { good = append(good, goodProviders...) }

var goodProviders = []goodFile{
	{"a provider with all that it may have", https + login + `
local = false
[[login.provider]]
name = "corp"
title = "Corp & Co"
issuer = "https://id.test/realm/"
client_id = "edge"
client_secret = "secret"
ca = "ca.pem"
scopes = ["openid", "groups"]
username_claim = "nick"
groups_claim = "roles"
groups = ["staff"]
allowed_domains = ["Corp.test"]
allowed_emails = ["Bob@example.com"]
create = true
link_by_email = true
trust_mfa = true
`, func(c *Config) any {
		p := *c.Login.Providers[0]
		secret := p.ClientSecret.Reveal()
		p.Pos, p.CA.Pos, p.ClientSecret = Pos{}, Pos{}, Secret{}
		return []any{c.Login.Elsewhere, secret, p}
	}, []any{true, "secret", Provider{
		Name: "corp", Title: "Corp & Co", Issuer: "https://id.test/realm/", ClientID: "edge", CA: File{Path: "/etc/edge/ca.pem"},
		Scopes: []string{"openid", "groups"}, UsernameClaim: "nick", GroupsClaim: "roles", Groups: []string{"staff"},
		AllowedDomains: []string{"corp.test"}, AllowedEmails: []string{"bob@example.com"}, Create: true, LinkByEmail: true, TrustMFA: true,
	}}},
	{"a provider with what it must have", https + login + provider, func(c *Config) any {
		p := *c.Login.Providers[0]
		p.Pos, p.CA.Pos = Pos{}, Pos{}
		return []any{c.Login.Elsewhere, p}
	}, []any{false, Provider{Name: "corp", Title: "corp", Issuer: "https://id.test", ClientID: "edge", Scopes: []string{"openid", "profile", "email"}}}},
}

const provider = `
[[login.provider]]
name = "corp"
issuer = "https://id.test"
client_id = "edge"
`

// Who lets in whomever a provider knows is warned.
func TestProviderWarns(t *testing.T) {
	for more, want := range map[string]bool{"": false, "create = true\n": true, "create = true\nallowed_domains = \"corp.test\"\n": false} {
		warnings := parse(t, https+login+provider+more).Warnings
		warned := len(warnings) == 1 && strings.Contains(warnings[0].Error(), "everybody whom https://id.test knows gets an account")
		if warned != want || !want && len(warnings) > 0 {
			t.Errorf("%q: %v", more, warnings)
		}
	}
}

// A provider's secret may be a file beside the configuration.
func TestProviderSecretFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f.toml")
	for name, text := range map[string]string{"corp.secret": "s3cret\n", "f.toml": https + login + provider + `client_secret = "file:corp.secret"`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(file)
	if err != nil || c.Login.Providers[0].ClientSecret.Reveal() != "s3cret" {
		t.Fatalf("%v", err)
	}
}
