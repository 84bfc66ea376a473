// Package upstream keeps the servers that requests and tunnels are relayed to: which one is next, and the connections that are reused.
package upstream

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"edge/conf"
	"edge/edge/h1"
)

// Upstream is one upstream in use. It is safe for concurrent use.
type Upstream struct {
	HostTarget bool          // the target's own host goes upstream, not the client's
	Response   time.Duration // how long a target may neither take of a request nor begin to answer
	Cookie     string        // leads a client back to its target; "": there is none
	Retries    *conf.Retries // when a request goes to another target, which is only where one takes no connection if it is nil
	// ProxyProtocol is the version of the PROXY header that a tunnel's target gets; 0: none.
	ProxyProtocol int

	targets []*Target
	key     string // the spec that made it

	name        string
	least       bool // the one with the fewest in flight is next, else each in turn
	maxFails    int  // 0: none is set aside
	failTimeout time.Duration
	maxInFlight int64 // of each target; 0: no limit
	slowStart   time.Duration
	log         *slog.Logger
	watches     sync.WaitGroup // of the targets that are checked

	mu      sync.Mutex // all that follows
	turn    int        // whose it is, of targets
	probes  uint64
	started bool
	checks  checks
	warm    time.Time // until then the share of some target grows; zero: none does
	queue   queue
	budget  *budget // nil: there are no retries
}

// Target is one server of an upstream.
type Target struct {
	Name     string  // as the log knows it
	Scheme   string  // http or https, also over a unix socket and for h2c and h2
	Host     string  // for HostTarget
	H2       bool    // it speaks HTTP/2: Call, else Conn
	ID       string  // for the cookie; "": there is none
	scheme   string  // of its URL
	isNew    bool    // the upstream of this name that it replaces has not got it
	before   *Target // what it was there; nil: it is new, or has started
	dial     func(context.Context) (net.Conn, error)
	upstream *Upstream
	hostname string // of its address; "": a unix socket has none
	counts   *counts
	inFlight atomic.Int64
	check    func(context.Context) error
	health
	warmth

	idle    idle
	shared  shared
	limits  h1.ClientLimits
	connect time.Duration // for the dial, and as much for the handshake
	lasts   time.Duration // how long a connection that nobody uses is kept
	tls     *tls.Config
}

// bodyIdle ends an answer of which nothing comes: events can be rare.
const bodyIdle = time.Hour

// Dial connects to the target, for a tunnel.
func (t *Target) Dial(ctx context.Context) (net.Conn, error) { return t.dial(ctx) }

// Retire ends the checks, closes the connections that nobody uses, and each other one when it comes back.
func (u *Upstream) Retire() {
	u.stopChecks()
	for _, t := range u.targets {
		t.idle.retire()
		t.shared.retire()
	}
}

// Set is the upstreams of one configuration.
type Set map[*conf.Upstream]*Upstream

// Start starts all of them.
func (set Set) Start() {
	for _, u := range set {
		u.Start()
	}
}

// Draft makes the upstreams of a configuration; one whose spec is unchanged is taken from old, with its connections and what is known of
// its targets. It lists every mistake. log is told of targets that are set aside, and that are back.
func Draft(specs []*conf.Upstream, old Set, log *slog.Logger) (Set, []*conf.Error) {
	byKey, byName := map[string]*Upstream{}, map[string]*Upstream{}
	for _, u := range old {
		byKey[u.key], byName[u.name] = u, u
	}
	set, mistakes := Set{}, []*conf.Error(nil)
	for _, spec := range specs {
		ca, err := readCA(spec)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		key := specKey(spec, ca)
		if byKey[key] == nil {
			byKey[key] = create(spec, ca, key, log)
			byKey[key].keepCounts(old)
			byKey[key].compare(byName[spec.Name])
		}
		set[spec] = byKey[key]
	}
	return set, mistakes
}

// Dropped gives what old has and set has not: to be retired once set is in force.
func (set Set) Dropped(old Set) []*Upstream {
	kept := map[*Upstream]bool{}
	for _, u := range set {
		kept[u] = true
	}
	var dropped []*Upstream
	for _, u := range old {
		if !kept[u] {
			kept[u] = true
			dropped = append(dropped, u)
		}
	}
	return dropped
}

// maxCA bounds a file of authorities.
const maxCA = 16 << 20

func readCA(spec *conf.Upstream) ([]byte, *conf.Error) {
	if spec.CA.Path == "" {
		return nil, nil
	}
	pem, err := spec.CA.Read(maxCA)
	if err != nil {
		return nil, spec.CA.Pos.Errorf("ca: %v", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, spec.CA.Pos.Errorf("ca: %s holds no PEM certificate", spec.CA.Path)
	}
	return pem, nil
}

// specKey says in one string all that makes an upstream what it is.
func specKey(spec *conf.Upstream, ca []byte) string {
	hash := sha256.Sum256(ca)
	key := fmt.Sprintln(spec.Name, spec.Timeouts.Connect, spec.Timeouts.Response, spec.Timeouts.Idle, spec.HostTarget, spec.LeastConnections,
		spec.MaxFails, spec.FailTimeout, spec.TLSServerName, spec.ProxyProtocol, hex.EncodeToString(hash[:]), policyKey(spec))
	for _, t := range spec.Targets {
		key += fmt.Sprintln(t.Scheme, t.Address)
	}
	return key
}

// policyKey is specKey's part of what a URL cannot say.
func policyKey(spec *conf.Upstream) string {
	key := fmt.Sprintln(spec.Sticky, spec.SlowStart, spec.MaxInFlight)
	if h := spec.Health; h != nil {
		key += fmt.Sprintf("health %q\n", []any{h.Path, h.Host, h.Interval, h.Timeout, h.Statuses, h.Passes, h.Fails})
	}
	if r := spec.Retries; r != nil {
		key += fmt.Sprintln("retries", r.Attempts, r.Budget, r.Connect, r.Reset, r.Statuses)
	}
	if q := spec.Queue; q != nil {
		key += fmt.Sprintln("queue", q.Size, q.Timeout)
	}
	return key
}

func create(spec *conf.Upstream, ca []byte, key string, log *slog.Logger) *Upstream {
	u := &Upstream{
		HostTarget: spec.HostTarget, Response: spec.Timeouts.Response, ProxyProtocol: spec.ProxyProtocol, key: key,
		Cookie: spec.Sticky, Retries: spec.Retries,
		name: spec.Name, least: spec.LeastConnections, maxFails: spec.MaxFails, failTimeout: spec.FailTimeout, log: log,
		maxInFlight: int64(spec.MaxInFlight), slowStart: spec.SlowStart, checks: checks{HealthCheck: spec.Health},
	}
	if spec.Queue != nil {
		u.queue = queue{size: spec.Queue.Size, timeout: spec.Queue.Timeout}
	}
	if spec.Retries != nil {
		u.budget = newBudget(spec.Retries.Budget)
	}
	if len(spec.Targets) == 1 { // there is no other one
		u.maxFails = 0
	}
	for _, t := range spec.Targets {
		u.targets = append(u.targets, newTarget(u, spec, t, ca))
	}
	return u
}

// compare finds the targets that are new, and what the others were. Where there was no upstream of this name, none is.
func (u *Upstream) compare(old *Upstream) {
	if old == nil {
		return
	}
	known := map[string]*Target{}
	for _, t := range old.targets {
		known[t.scheme+"://"+t.Name] = t
	}
	for _, t := range u.targets {
		t.before = known[t.scheme+"://"+t.Name]
		t.isNew = t.before == nil
	}
}

func newTarget(u *Upstream, spec *conf.Upstream, target conf.Target, ca []byte) *Target {
	network := "tcp"
	if target.Scheme == "unix" {
		network = "unix"
	}
	dialer := &net.Dialer{Timeout: spec.Timeouts.Connect}
	t := &Target{Name: target.Address, Scheme: "http", Host: target.Address, scheme: target.Scheme, upstream: u, counts: new(counts)}
	t.H2 = target.Scheme == "h2" || target.Scheme == "h2c"
	if target.Scheme == "https" || target.Scheme == "h2" {
		t.Scheme = "https"
	}
	if network == "unix" {
		t.Host = "localhost"
	} else {
		t.hostname, _, _ = net.SplitHostPort(target.Address)
	}
	t.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, target.Address) }
	t.limits = h1.ClientLimits{Response: spec.Timeouts.Response, Body: bodyIdle}
	t.connect, t.lasts = spec.Timeouts.Connect, spec.Timeouts.Idle
	switch target.Scheme {
	case "https":
		t.tls = clientTLS(spec, t.hostname, ca, "http/1.1")
	case "h2":
		t.tls = clientTLS(spec, t.hostname, ca, "h2")
	}
	switch {
	case spec.Health == nil || spec.Health.Path == "":
		t.check = t.connects
	case t.H2:
		t.check = t.asksH2
	default:
		t.check = t.asks
	}
	return t
}

// clientTLS is how a target's TLS is asked for, to speak this protocol over it.
func clientTLS(spec *conf.Upstream, hostname string, ca []byte, protocol string) *tls.Config {
	return &tls.Config{
		RootCAs: pool(ca), ServerName: cmp.Or(spec.TLSServerName, hostname), NextProtos: []string{protocol}, ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
}

// pool gives the authorities to trust; nil means the system's.
func pool(ca []byte) *x509.CertPool {
	if ca == nil {
		return nil
	}
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(ca)
	return p
}
