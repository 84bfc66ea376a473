package plan

import (
	"edge/conf"
)

// providers compares those who may say who somebody is, by name.
func (d *differ) providers(old, new []*conf.Provider) {
	for _, p := range pair(old, new, func(p *conf.Provider) string { return p.Name }) {
		switch was, is := p[0], p[1]; {
		case was == nil:
			d.add(Adds, "login provider "+is.Name, []Key{{"issuer", "", is.Issuer}}, none)
		case is == nil:
			d.add(Removes, "login provider "+was.Name, []Key{{"issuer", was.Issuer, ""}},
				cost{words: "there is no button for it any more; who came in by it stays, with the groups from there, until `edge user unlink`"})
		default:
			d.compare("login provider "+is.Name, providerFacts(was), providerFacts(is))
		}
	}
}

func providerFacts(p *conf.Provider) []fact {
	next := cost{words: "counts from a person's next login"}
	return []fact{
		{"title", p.Title, none}, {"issuer", p.Issuer, none}, {"client_id", p.ClientID, none}, {"client_secret", p.ClientSecret, none}, {"ca", p.CA, none},
		{"scopes", p.Scopes, none}, {"username_claim", p.UsernameClaim, none}, {"groups_claim", p.GroupsClaim, next}, {"groups", p.Groups, next},
		{"allowed_domains", p.AllowedDomains, none}, {"allowed_emails", p.AllowedEmails, none}, {"create", p.Create, none},
		{"link_by_email", p.LinkByEmail, none}, {"trust_mfa", p.TrustMFA, none},
	}
}
