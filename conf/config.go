// Package conf turns the text of a configuration file into checked, plain data.
//
// It owns the file's format, its defaults and every check that needs only the file and those that it includes. It opens no socket, reads no
// certificate and knows no other package of edge but username; whoever checks later (a missing file, an address in use) reports with the Pos of the value.
package conf

import (
	"io/fs"
	"log/slog"
	"time"
)

// Config is a whole configuration. Nothing in it is "maybe valid": Load returns it only when every check passed.
// It is read-only after Load and safe for concurrent use.
type Config struct {
	File         string // absolute
	StateDir     string // absolute
	StateDirPos  Pos    // of state_dir; of the file where it is not given
	Listeners    []*Listener
	Certificates []*Certificate
	Vhosts       []*Vhost
	Upstreams    []*Upstream // the named ones, and one for each URL that stands where an upstream may
	Login        *Login      // nil: no login anywhere
	Drain        Drain
	Upgrade      Upgrade
	Reload       Reload
	Log          Log
	Sum          Sum      // of all that was read
	Warnings     []*Error // what is allowed, but seldom meant
}

// Protocol is what a listener speaks.
type Protocol string

// The protocols of a listener.
const (
	HTTP  Protocol = "http"
	HTTPS Protocol = "https"
	TCP   Protocol = "tcp" // bytes relayed
	TLS   Protocol = "tls" // TLS ended here, bytes relayed

	Metrics Protocol = "metrics" // HTTP, to edge itself: how is it doing
)

// TLS says whether connections of this protocol begin with a TLS handshake.
func (p Protocol) TLS() bool { return p == HTTPS || p == TLS }

// HTTP says whether requests are read from connections of this protocol.
func (p Protocol) HTTP() bool { return p == HTTP || p == HTTPS || p == Metrics }

// Listener is a [[listener]].
type Listener struct {
	Pos            Pos
	Name           string
	Addresses      []Address // at least one
	Protocol       Protocol
	Timeouts       ListenerTimeouts
	MaxConnections int           // open at once, over all its addresses; 0: no limit
	MaxHeader      int64         // bytes of a request's head
	TrustedProxies Prefixes      // whose word about the client is taken (X-Forwarded-For)
	TrustsUnix     bool          // that of who comes by a unix socket, too
	RedirectTo     *Listener     // every request gets 308 to this https listener; nil: vhosts answer
	Proxy          *Upstream     // tcp and tls: where the bytes go; else nil, as it may be where there is SNI
	SNI            []SNI         // tls: names that are relayed without a look into their TLS
	KeepAlive      time.Duration // without a word, until the kernel asks whether the client is still there, and between two such questions; 0: it does not
	TLS            *TLSPolicy    // https and tls: what it asks of handshakes; nil: nothing is said. See Listener.TLSPolicy
	SocketMode     fs.FileMode   // of the files of its unix sockets
	ProxyProtocol  bool          // every client must send a PROXY header, and be one of these:
	ProxyFrom      Prefixes      // of these addresses
	ProxyUnix      bool          // by a unix socket
	Pprof          bool          // metrics: /debug/pprof/ answers too
}

// SNI is a name, or a wildcard, and where the connections for it go.
type SNI struct {
	Pos   Pos
	Name  string // as in Host; no address
	Proxy *Upstream
}

// Address is where a listener listens.
type Address struct {
	Pos     Pos
	Network string // "tcp" or "unix"
	Address string // "127.0.0.1:8443", "[::1]:8443", ":443" (every address); an absolute path, or "@name" (abstract)
}

// ListenerTimeouts bound how long a client may take. None is zero.
type ListenerTimeouts struct {
	Pos    Pos           // of the listener, where they are the defaults
	Header time.Duration // for TLS, and for the whole head of a request
	Body   time.Duration // without any progress while a request's body is read
	Write  time.Duration // without any progress while a response is written
	Idle   time.Duration // between two requests
	Tunnel time.Duration // a tunnel, without a byte either way
}

// Certificate is a [[certificate]].
type Certificate struct {
	Pos    Pos
	Hosts  []Host // what it is for; empty (files only): the names that the certificate itself holds
	Issuer string // "files" or "dev"
	Cert   File   // files: the chain, PEM
	Key    File   // files: its key, PEM
	OCSP   File   // files: what its authority says of it, DER; empty Path: nothing
	Dir    string // dev: absolute folder of the authority and its leaf
	// Default: it is shown to clients that ask for a name that no certificate is for. No more than one has it.
	Default bool
}

// File is a path from the configuration, made absolute.
type File struct {
	Pos  Pos
	Path string
}

// Host is a host pattern: lower-case ASCII without a last dot; "*.example.org" stands for any one label before
// example.org; or an IP address in its canonical form, without brackets.
type Host struct {
	Pos  Pos
	Name string
}

// Vhost is a [[vhost]].
type Vhost struct {
	Pos       Pos
	ID        string // its first host: what sessions and hand-over codes are bound to
	Hosts     []Host
	Listeners []*Listener // http and https only; at least one
	TLS       *TLSPolicy  // in place of its listeners'; nil: nothing is said
	Routes    []*Route    // at least one: the vhost's own action is the route "/"
	Rules                 // for what no route answers: nothing there, the login's pages

	Maintenance *Maintenance // nil: it is open
	ErrorPages  []ErrorPage
	Identity    Identity
}

// Header is a field to set, or, with an empty value, to remove. Name is in lower case.
type Header struct {
	Pos         Pos
	Name, Value string
}

// Route is a path of a vhost and the one action that answers there: exactly one of the last five is set.
type Route struct {
	Pos     Pos
	Path    string // "/assets/" is a subtree, "/ping" that path alone
	Access  Access
	MaxBody int64 // bytes of a request's body; 0: no limit
	Rules
	StripPrefix bool // proxy: the upstream gets the path from the last slash of Path on

	Proxy    *Upstream
	Files    *Files
	Redirect *Redirect
	Respond  *Respond
	Echo     bool
}

// Access says who may pass. The zero value lets nobody pass: Load always sets it.
type Access struct {
	Pos    Pos
	Public bool     // everybody, without login
	Login  bool     // anyone with an account
	Users  []string // these
	Groups []string // members of these

	SecondFactor bool // and with a login of two factors; never where Public
}

// NeedsLogin says whether a request must carry a session to pass.
func (a Access) NeedsLogin() bool { return !a.Public }

// Files is the action "files".
type Files struct {
	Pos      Pos
	Root     File   // an existing folder is not checked here
	Fallback string // below Root, starts with "/": served with 200 where nothing is found; "": 404
	Compress bool   // for those who take it: what lies compressed beside a file, or text compressed on the way
	Browse   bool   // a folder without index.html is listed
}

// Redirect is the action "redirect".
type Redirect struct {
	Pos Pos
	// To is an absolute http(s) URL or a path. With no path of its own ("https://www.example.org") it gets the request's path and query.
	To     string
	Status int // 301, 302, 303, 307 or 308 (the default)
}

// Respond is the action "respond": a fixed answer, text/plain unless the vhost's headers say otherwise.
type Respond struct {
	Pos    Pos
	Status int // 200 to 599
	Body   string
}

// Upstream is an [[upstream]], or what a URL in its place means.
type Upstream struct {
	Pos      Pos
	Name     string // the URL itself where it has no name
	Targets  []Target
	Timeouts UpstreamTimeouts
	// HostTarget: the target's own host goes upstream in place of the client's ("host = target").
	HostTarget bool
	Forwarded  bool // its requests carry Forwarded (RFC 7239) too
	// LeastConnections: the target with the fewest exchanges in flight is next ("balance = least_connections"), else each in turn.
	LeastConnections bool
	MaxFails         int           // a target that fails so often in a row, within FailTimeout, is set aside; 0: none is
	FailTimeout      time.Duration // for so long
	CA               File          // https and h2: who may sign the target's certificate; empty Path: the system's authorities
	TLSServerName    string        // https and h2: the name that the certificate must hold; "": the target's host
	ProxyProtocol    int           // version of the PROXY header that a tunnel's target gets; 0: none
	Health           *HealthCheck  // nil: targets are asked nothing of edge's own accord
	Retries          *Retries      // nil: only where a target takes no connection another one is tried
	Sticky           string        // the name of the cookie that leads a client back to its target; "": there is none
	SlowStart        time.Duration // within which the share of a target that comes back, or is new, grows to a full one; 0: at once
	MaxInFlight      int           // exchanges with a target at a time; 0: no limit
	Queue            *Queue        // for exchanges that find all targets full; nil: none waits
}

// Target is one server of an upstream.
type Target struct {
	Pos    Pos
	Scheme string // http, https, h2 (HTTP/2 over TLS), h2c, tcp or unix (HTTP over a unix socket)
	// Address is host:port with the port always given, or a unix socket's absolute path.
	Address string
}

// UpstreamTimeouts bound what edge waits for. None is zero.
type UpstreamTimeouts struct {
	Pos      Pos // of the upstream, where they are the defaults
	Connect  time.Duration
	Response time.Duration // from the request's end to the answer's head; and within the request without taking any of it
	Idle     time.Duration // an unused connection is closed after this
}

// Registration says who may make an account.
type Registration string

// The kinds of registration.
const (
	Closed Registration = "closed"
	Invite Registration = "invite" // who has been sent a link: edge invite
	Open   Registration = "open"
)

// Login is [login].
type Login struct {
	Pos          Pos
	Host         string // where the pages live
	Port         int    // at which browsers reach it, and every virtual host; 0: at whichever they say
	Registration Registration
	Idle         time.Duration // a session unused for this long ends
	Lifetime     time.Duration // and so does any session of this age
	Identity     Identity      // as virtual hosts have it that say nothing
	Elsewhere    bool          // nobody logs in by password, only by one of Providers
	Providers    []*Provider

	// How the pages look. The files are not read here.
	Title     string // the name of the place; "": none
	Logo      File   // a picture; its Path is "" where there is none
	Color     string // the accent, "#rrggbb" in lower case
	Templates File   // a folder with pages in place of ours; its Path is "" where there is none

	// Audit is the file in which it is written down who did what, absolute; "": nowhere. No File: nothing of it is read.
	Audit    string
	AuditPos Pos
}

// Drain is [drain].
type Drain struct {
	Pos    Pos           // of the file, where there is no [drain]
	Spread time.Duration // over which a drain tells its connections
	Stop   time.Duration // TERM: how long requests may take
	Hard   time.Duration // after a change: cut what is left; 0: never
}

// Upgrade is [upgrade].
type Upgrade struct {
	Pos            Pos           // of the file, where there is no [upgrade]
	Ready          time.Duration // the new process must be ready within
	Probation      time.Duration // and serve for this long before there is no way back
	MaxGenerations int
}

// Log is [log].
type Log struct {
	Pos    Pos
	Access string // an absolute path, "stdout" or "off"
	Level  slog.Level

	Format   LogFormat
	Hide     []string // query parameters whose values are not written
	ReturnID bool     // answers tell the client the request's id
}
