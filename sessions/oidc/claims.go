package oidc

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"

	"edge/sessions"
)

const (
	maxSubject = 255         // OpenID Connect Core §2
	maxEmail   = 254         // RFC 5321
	maxGroups  = 200         // that are looked at
	maxTime    = 1 << 40     // seconds
	skew       = time.Minute // by which the provider's clock may be wrong
)

// claims are what a token says.
type claims map[string]any

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// texts reads a claim that is one text or a list of them.
func (c claims) texts(name string) (list []string) {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v[:min(len(v), maxGroups)] {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}

func userInfo(body []byte, kind string) (c claims, err error) {
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
		return nil, fmt.Errorf("it is %q, not JSON", kind)
	}
	err = json.Unmarshal(body, &c)
	return c, err
}

// email is the address, in lower case, if the provider says that it has been verified, and it is one that everybody reads the same way: of
// "a@evil@corp.com" some would take the last domain and some the first (CVE-2026-40574).
func (c claims) email() string {
	verified := c["email_verified"] == any(true) || c["email_verified"] == any("true") // Amazon Cognito and others send a text
	s := strings.ToLower(c.text("email"))
	a, err := mail.ParseAddress(s)
	if !verified || err != nil || a.Address != s || len(s) > maxEmail || strings.Count(s, "@") != 1 || strings.ContainsFunc(s, odd) {
		return ""
	}
	return s
}

// odd is what is in no plain e-mail address: letters that look like others, quotes and routes.
func odd(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"\\,:;<>()[]%", c) }

func (c *Client) usernameClaim() string {
	if c.conf.UsernameClaim != "" {
		return c.conf.UsernameClaim
	}
	return "preferred_username"
}

// stranger is who the claims are of, if they may come in.
func (c *Client) stranger(cl claims) (who sessions.Stranger, err error) {
	who.Origin = sessions.Origin{Issuer: c.issuer, Subject: cl.text("sub"), Session: cl.text("sid")}
	who.Email, who.Level = cl.email(), sessions.AAL1
	if at, ok := cl["auth_time"].(float64); ok && at > 0 && at < maxTime {
		who.Proved = time.Unix(int64(at), 0)
	}
	if !c.allowed(who.Email) {
		return who, fmt.Errorf("%w: the verified e-mail address is %q", sessions.ErrNotAllowed, who.Email)
	}
	who.Name = cl.text(c.usernameClaim())
	if who.Name == "" && c.conf.UsernameClaim == "" {
		who.Name = who.Email
	}
	for _, g := range cl.texts(c.conf.GroupsClaim) {
		if slices.Contains(c.conf.Groups, g) || slices.Equal(c.conf.Groups, []string{"*"}) {
			who.Groups = append(who.Groups, g)
		}
	}
	if c.conf.TrustMFA && cl.twoFactors() {
		who.Level = sessions.AAL2
	}
	return who, nil
}

// allowed says whether who has this verified address may come in; "": none is known.
func (c *Client) allowed(email string) bool {
	if c.conf.AllowedDomains == nil && c.conf.AllowedEmails == nil {
		return true
	}
	_, domain, ok := strings.Cut(email, "@")
	return ok && (slices.Contains(c.conf.AllowedDomains, domain) || slices.Contains(c.conf.AllowedEmails, email))
}

// multi are values of acr that mean a second factor.
var multi = []string{
	"phr", "phrh", // OpenID Connect Extended Authentication Profile: resistant to phishing
	"http://schemas.openid.net/pape/policies/2007/06/multi-factor",
	"https://refeds.org/profile/mfa",
}

// twoFactors says whether a second factor was asked for (RFC 8176).
func (c claims) twoFactors() bool {
	return slices.Contains(c.texts("amr"), "mfa") || slices.Contains(multi, c.text("acr"))
}
