package conf

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Provider is a [[login.provider]]: an OpenID provider that may say who somebody is.
type Provider struct {
	Pos          Pos
	Name         string // in addresses: /oidc/NAME/callback
	Title        string // on the button
	Issuer       string // https, as the provider writes it in its tokens
	ClientID     string
	ClientSecret Secret // none: a public client, which PKCE alone protects
	Scopes       []string
	CA           File // who vouches for the provider's certificate; Path "": the system's authorities

	UsernameClaim  string   // where the name of a new account is; "": preferred_username, or else a verified e-mail address
	GroupsClaim    string   // "": no groups come from there
	Groups         []string // those that count; "*" alone: all
	AllowedDomains []string // of verified e-mail addresses, in lower case
	AllowedEmails  []string // verified addresses, in lower case. Neither this nor domains: everybody whom the provider knows
	Create         bool     // who has no account here gets one
	LinkByEmail    bool     // who has none linked is the account of the same, verified, e-mail address
	TrustMFA       bool     // a second factor that was asked for there counts here
}

// providers reads [login] local and [[login.provider]].
func (l *loader) providers(t *table, lg *Login) {
	local := t.get("local")
	lg.Elsewhere = !local.boolean(true)
	for _, pt := range t.get("provider").tables("[[login.provider]]") {
		lg.Providers = append(lg.Providers, l.provider(pt, lg.Providers))
	}
	switch {
	case !lg.Elsewhere:
	case len(lg.Providers) == 0:
		local.mistake("local = false leaves no way to log in: there is no [[login.provider]]")
	case lg.Registration != Closed:
		local.mistake("local = false: nobody has a password, so registration must be %q", Closed)
	}
}

var providerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func (l *loader) provider(t *table, others []*Provider) *Provider {
	defer t.done()
	name := t.need("name")
	p := &Provider{Pos: t.pos(), Name: name.str(), Issuer: issuerURL(t.need("issuer")), ClientID: t.need("client_id").str()}
	switch same := slices.IndexFunc(others, func(o *Provider) bool { return o.Name == p.Name }); {
	case p.Name == "":
	case !providerName.MatchString(p.Name):
		name.mistake("name = %q stands in addresses: 1 to 32 of a-z, 0-9 and, between them, -", p.Name)
	case same >= 0:
		name.mistake("name %q is already at %v", p.Name, others[same].Pos)
	}
	p.Title = p.Name
	if title := t.get("title"); title.given() {
		p.Title = title.str()
	}
	p.ClientSecret = t.get("client_secret").secret()
	p.CA = t.get("ca").path()
	p.Scopes = scopes(t.get("scopes"))
	p.Create, p.LinkByEmail = t.get("create").boolean(false), t.get("link_by_email").boolean(false)
	p.TrustMFA = t.get("trust_mfa").boolean(false)
	p.claims(t)
	p.allowed(t)
	return p
}

// issuerURL reads an issuer. It is compared letter by letter, so it stays as it is written.
func issuerURL(v value) string {
	s := v.str()
	u, err := url.Parse(s)
	if s == "" {
		return ""
	}
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(s, "?# \t\r\n") {
		v.mistake(`issuer must be like "https://id.example.org", as the provider writes it: https, no query, is %q`, s)
		return ""
	}
	return s
}

var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`) // RFC 6749 §3.3

func scopes(v value) (list []string) {
	if !v.given() {
		return []string{"openid", "profile", "email"}
	}
	for _, item := range v.list() {
		if s := item.str(); s != "" && !scopeToken.MatchString(s) {
			item.mistake("%q is no scope", s)
		} else if s != "" {
			list = append(list, s)
		}
	}
	if !slices.Contains(list, "openid") {
		v.mistake(`scopes must hold "openid": without it nobody says who it is`)
	}
	return list
}

// claims reads what of a token becomes a name and groups. Groups let people in, so those that count are named.
func (p *Provider) claims(t *table) {
	p.UsernameClaim = t.get("username_claim").str()
	p.GroupsClaim = t.get("groups_claim").str()
	groups := t.get("groups")
	for _, item := range groups.list() {
		if s := item.str(); s != "" {
			p.Groups = append(p.Groups, s)
		}
	}
	switch {
	case groups.given() && p.GroupsClaim == "":
		groups.mistakeAtKey(`"groups" needs "groups_claim"`)
	case !groups.given() && p.GroupsClaim != "":
		t.l.mistake(t.places.of("groups_claim").key, `"groups_claim" needs "groups": those that count here, or ["*"] for all`)
	case len(p.Groups) > 1 && slices.Contains(p.Groups, "*"):
		groups.mistake(`groups: "*" stands alone`)
	}
}

var domainLike = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)+[a-z0-9-]+$`)

// allowed reads whose e-mail addresses may come in.
func (p *Provider) allowed(t *table) {
	for _, item := range t.get("allowed_domains").list() {
		s := strings.ToLower(item.str())
		if s != "" && !domainLike.MatchString(s) {
			item.mistake(`%q is no domain like "example.org"`, s)
		} else if s != "" {
			p.AllowedDomains = append(p.AllowedDomains, s)
		}
	}
	for _, item := range t.get("allowed_emails").list() {
		s := strings.ToLower(item.str())
		local, domain, _ := strings.Cut(s, "@")
		if s != "" && (local == "" || !domainLike.MatchString(domain)) {
			item.mistake(`%q is no e-mail address like "alice@example.org"`, s)
		} else if s != "" {
			p.AllowedEmails = append(p.AllowedEmails, s)
		}
	}
}

// anybody says whether the provider lets in whomever it knows, and they need no account for it.
func (p *Provider) anybody() bool {
	return p.Create && p.AllowedDomains == nil && p.AllowedEmails == nil
}

// warnProviders warns where whoever is known to a provider lets themselves in.
func (l *loader) warnProviders() {
	if l.config.Login == nil {
		return
	}
	for _, p := range l.config.Login.Providers {
		if p.anybody() {
			l.warn(p.Pos, "everybody whom %s knows gets an account: allowed_domains or allowed_emails says who may", p.Issuer)
		}
	}
}
