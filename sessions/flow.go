package sessions

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	flowLife = 10 * time.Minute
	maxFlows = 5 // logins under way in one browser at one virtual host: that many tabs each find their way back
	maxHops  = 2 // times that a login starts again by itself before it stops with a page
)

// flow is a login under way, seen from the virtual host: what only the browser that began it has, in a cookie of its own. Nothing is
// kept in the store, so a crawler that begins a million logins leaves nothing behind.
type flow struct {
	ID     string `json:"id"` // 128 bits in hex
	Nonce  []byte `json:"nonce"`
	Vhost  string `json:"vhost"`
	Return string `json:"return"` // path and query, see returnPath
	Issued int64  `json:"issued"`
	Hops   int    `json:"hops"`
	Level  Level  `json:"aal,omitempty"` // that the login must have
}

// request is a login under way, seen from the login host: sealed in the address, and later in the ticket. It names the virtual host's
// address, which the login host believes only as far as the running configuration agrees.
type request struct {
	Vhost     string `json:"vhost"`
	Host      string `json:"host"` // canonical; a virtual host may have many
	Flow      string `json:"flow"`
	NonceHash []byte `json:"nonce_hash"`
	Return    string `json:"return"`
	Issued    int64  `json:"issued"`
	Hops      int    `json:"hops"`
	Level     Level  `json:"aal,omitempty"`
	Local     string `json:"local,omitempty"` // the page of the login host to go to first; then Vhost may be "": nobody asked
}

func newFlow(vhost, target string, hops int, now time.Time) flow {
	var random [16 + 32]byte
	rand.Read(random[:])
	return flow{
		ID: hex.EncodeToString(random[:16]), Nonce: random[16:],
		Vhost: vhost, Return: returnPath(target), Issued: now.UnixMilli(), Hops: hops,
	}
}

// cookieName holds only a part of the id: the whole is inside, under the seal.
func (f flow) cookieName() string { return flowPrefix + f.ID[:8] }

func (f flow) request(host string) request {
	hash := sha256.Sum256(f.Nonce)
	return request{Vhost: f.Vhost, Host: host, Flow: f.ID, NonceHash: hash[:], Return: f.Return, Issued: f.Issued, Hops: f.Hops, Level: f.Level}
}

// began says whether this browser's flow is the one that a ticket was issued for.
func (f flow) began(req request) bool {
	hash := sha256.Sum256(f.Nonce)
	same := subtle.ConstantTimeCompare([]byte(f.ID), []byte(req.Flow)) &
		subtle.ConstantTimeCompare(hash[:], req.NonceHash) &
		subtle.ConstantTimeCompare([]byte(f.Vhost), []byte(req.Vhost))
	return same == 1
}

// Begin starts a login at a virtual host and returns where to send the browser (302) and the Set-Cookie fields to send with it.
// authority is the request's canonical host with its port, if any; target its path and query; cookie its Cookie field.
// Only a navigation should begin a login: anything else gets 401.
func (s *Service) Begin(vhost, authority, target string, cookie []byte) (location string, setCookies []string, err error) {
	return s.begin(newFlow(vhost, target, 0, s.db.now()), authority, cookie)
}

// StepUp is Begin for who has proved too little, or nothing: it comes back with two factors.
func (s *Service) StepUp(vhost, authority, target string, cookie []byte) (location string, setCookies []string, err error) {
	f := newFlow(vhost, target, 0, s.db.now())
	f.Level = AAL2
	return s.begin(f, authority, cookie)
}

func (s *Service) begin(f flow, authority string, cookie []byte) (location string, setCookies []string, err error) {
	host, port := s.reached(authority)
	sealed, err := s.db.flows.seal(f.cookieName(), f)
	if err != nil {
		return "", nil, err
	}
	blob, err := s.db.blobs.seal("", f.request(host))
	if err != nil {
		return "", nil, err
	}
	set := append(s.surplus(cookie), newCookie(f.cookieName(), sealed, int(flowLife/time.Second)))
	for _, c := range set {
		if text := c.String(); text != "" { // a client may say names that no field can carry
			setCookies = append(setCookies, text)
		}
	}
	return s.loginURL(port) + "/login?f=" + blob, setCookies, nil
}

// surplus deletes the cookies that are in the way of one more flow: dead flows, the oldest beyond maxFlows, and two session cookies,
// which would make a loop. One session cookie stays, though it is of no use: another tab may be replacing it at this moment.
func (s *Service) surplus(cookie []byte) (del []*http.Cookie) {
	if _, count := onlyCookie(cookie, sessionCookie); count > 1 {
		del = append(del, newCookie(sessionCookie, "", -1))
	}
	return surplusOf(del, cookie, flowPrefix, maxFlows, s.openFlow)
}

// underWay is something begun that a browser keeps sealed in a cookie of its own.
type underWay interface {
	cookieName() string
	issued() int64 // Unix milliseconds
}

func (f flow) issued() int64 { return f.Issued }

// surplusOf deletes, beside del, the cookies of one kind that are in the way of one more: those that open does not know, and the oldest beyond most.
func surplusOf[T underWay](del []*http.Cookie, cookie []byte, prefix string, most int, open func(name, value string) (T, bool)) []*http.Cookie {
	var alive []T
	for rest := cookie; len(rest) > 0 && len(del)+len(alive) < 8*most; {
		var pair []byte
		pair, rest = nextCookie(rest)
		name, value, _ := strings.Cut(string(pair), "=")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if b, ok := open(name, value); ok {
			alive = append(alive, b)
		} else {
			del = append(del, newCookie(name, "", -1))
		}
	}
	slices.SortFunc(alive, func(a, b T) int { return cmp.Compare(a.issued(), b.issued()) })
	for len(alive) >= most {
		del, alive = append(del, newCookie(alive[0].cookieName(), "", -1)), alive[1:]
	}
	return del
}

// openFlow reads a flow cookie that is ours and not too old.
func (s *Service) openFlow(name, value string) (f flow, ok bool) {
	ok = s.db.flows.open(name, value, &f) && s.db.now().Sub(time.UnixMilli(f.Issued)) <= flowLife
	return f, ok
}

// flowOf finds the cookie of the flow with this id.
func (s *Service) flowOf(cookie []byte, id string) (f flow, ok bool) {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return flow{}, false
	}
	name := flow{ID: id}.cookieName()
	value, _ := onlyCookie(cookie, name)
	return s.openFlow(name, string(value))
}

const maxReturn = 2000

// returnPath makes a redirect target of a request's: always a path on the same host. What a browser might read as another host, and
// what no browser sends unescaped, becomes "/".
func returnPath(target string) string {
	odd := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' || c == '#' }
	if len(target) > maxReturn || !strings.HasPrefix(target, "/") || strings.ContainsFunc(target, odd) {
		return "/"
	}
	path, query, has := strings.Cut(target, "?")
	path = "/" + strings.TrimLeft(path, "/") // "//evil.example" would be a host
	if strings.HasPrefix(path, reserved) {
		return "/" // a login that returns to a step of a login
	}
	if has {
		return path + "?" + query
	}
	return path
}

// splitAuthority returns the host without brackets, and the port with its colon; "" for the default one, or what is no port.
func splitAuthority(authority string) (host, port string) {
	host, p, err := net.SplitHostPort(authority)
	if err != nil {
		return strings.Trim(authority, "[]"), ""
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || n == 443 {
		return host, ""
	}
	return host, ":" + strconv.FormatUint(n, 10)
}

// httpsURL is the origin of a host at a port as splitAuthority returns them.
func httpsURL(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "https://" + host + port
}
