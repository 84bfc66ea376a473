package drill

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options say what a drill does.
type Options struct {
	Program   string // the edge that is drilled: an absolute path
	Helper    string // the program that has `drill misfit`: Misfit
	Reloads   int
	Upgrades  int           // one in three of them to a new process that cannot take over
	For       time.Duration // the changes are spread over so long; 0: one follows the other
	Quiet     time.Duration // before the first change and after the last
	Probation time.Duration // of each upgrade
	Clients   int           // of each kind
	Alone     bool          // whether nobody else uses this network namespace: only then what the kernel counts is the drill's, and is judged
	Times     bool          // whether how long answers take around changes is judged
	Progress  io.Writer     // told each minute how far the drill is; nil: nobody
}

// Rig is a drill that runs: an edge on loopback, in a directory that is gone when the drill ends, and the app behind it.
type Rig struct {
	Options
	dir    string
	edge   *program
	origin Origin
	app    net.Listener
	tunnel net.Listener
	roots  *x509.CertPool

	version  int         // of the configuration
	extra    bool        // whether the listener that comes and goes is there
	secondCA bool        // which of the certificates is shown
	away     atomic.Bool // whether that listener may be gone
	killing  atomic.Bool // whether the drill kills a process that serves
	changes  atomic.Int64
	events   []event
	result   *Result
}

// Drill runs a drill. An error means that there is no result.
func Drill(ctx context.Context, o Options) (_ *Result, err error) {
	dir, err := os.MkdirTemp("", "edge-drill-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	g := &Rig{Options: o, dir: dir, extra: true, result: newResult()}
	if g.result.kernel, err = watchKernel(o.Alone); err != nil {
		return nil, err
	}
	closeApp, err := g.startApp()
	if err != nil {
		return nil, err
	}
	defer closeApp()
	if err := g.writeConfig(); err != nil {
		return nil, err
	}
	if g.edge, err = startProgram(dir, o.Program); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.edge.stop()) }()
	if err := g.run(ctx); err != nil {
		return nil, fmt.Errorf("%w; the log ends with:\n%s", err, g.edge.tail())
	}
	return g.result, nil
}

// startApp starts what is behind the edge.
func (g *Rig) startApp() (end func(), err error) {
	if g.app, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if g.tunnel, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		g.app.Close()
		return nil, err
	}
	srv := &http.Server{Handler: &g.origin, ReadHeaderTimeout: patience}
	go srv.Serve(g.app)
	go echo(g.tunnel)
	return func() { srv.Close(); g.tunnel.Close() }, nil
}

// run does all of it.
func (g *Rig) run(ctx context.Context) error {
	if _, err := g.edge.await(ctx, 0, `msg="edge serves"`); err != nil {
		return err
	}
	if err := g.trustBoth(ctx); err != nil {
		return err
	}
	var err error
	if g.result.first, err = g.atRest(ctx); err != nil {
		return err
	}
	if err := g.underLoad(ctx); err != nil {
		return err
	}
	if err := g.afterwards(ctx); err != nil {
		return err
	}
	if err := g.result.kernel.end(); err != nil {
		return err
	}
	g.result.finish(&g.origin, g.events)
	return nil
}

// trustBoth makes both authorities, which the certificates are swapped between, and trusts them.
func (g *Rig) trustBoth(ctx context.Context) error {
	for range 2 {
		g.secondCA = !g.secondCA
		if err := g.reload(ctx, "msg=reloaded"); err != nil {
			return err
		}
	}
	g.roots = x509.NewCertPool()
	for _, dir := range []string{"certs-1", "certs-2"} {
		pem, err := os.ReadFile(filepath.Join(g.dir, dir, "ca.pem"))
		if err != nil {
			return err
		}
		g.roots.AppendCertsFromPEM(pem)
	}
	return nil
}

// underLoad makes the changes, under the clients.
func (g *Rig) underLoad(ctx context.Context) error {
	clients, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	g.startClients(clients, &wg)
	wg.Go(func() { g.tell(clients) })
	pause(ctx, g.Quiet)
	err := g.change(ctx)
	pause(ctx, g.Quiet+aftermath) // what a change has done may show a second later
	stop()
	wg.Wait()
	return err
}

// tell tells each minute how far the drill is.
func (g *Rig) tell(ctx context.Context) {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-minute.C:
			sum := g.result.total()
			fmt.Fprintf(g.Progress, "%v: %d of %d changes, %d requests answered, %d failed, %d apart\n", now.Sub(began).Round(time.Second),
				g.changes.Load(), g.Reloads+g.Upgrades, sum.OK, sum.Failed, sum.Apart)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// change makes all changes, evenly over the time, the upgrades evenly among the reloads.
func (g *Rig) change(ctx context.Context) error {
	total := g.Reloads + g.Upgrades
	began := time.Now()
	upgrades := 0
	for n := range total {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		pause(ctx, time.Until(began.Add(g.For*time.Duration(n)/time.Duration(total))))
		e := event{from: time.Now()}
		var err error
		if (n+1)*g.Upgrades/total > upgrades {
			e.what, err = g.upgradeNumber(ctx, upgrades)
			upgrades++
		} else {
			e.what, err = g.reloadNumber(ctx, n-upgrades)
		}
		if err != nil {
			return err
		}
		e.to = time.Now()
		g.events = append(g.events, e)
		g.changes.Add(1)
	}
	if !g.extra {
		return g.add(ctx)
	}
	return nil
}

// The kinds of reloads.
const (
	valid     = "a change"
	identical = "the same file"
	broken    = "a broken file"
	removed   = "a listener removed"
	added     = "a listener added"
	swapped   = "a certificate swapped"
)

// reloadNumber makes the nth reload, and says what it was.
func (g *Rig) reloadNumber(ctx context.Context, n int) (kind string, err error) {
	kinds := []string{valid, identical, broken, removed, added, swapped}
	kind = kinds[n%len(kinds)]
	g.result.reloads[kind]++
	switch kind {
	case valid:
		g.version++
		if err = g.reload(ctx, "msg=reloaded"); err == nil {
			err = g.isLive(ctx)
		}
	case identical:
		_, err = g.edge.signal(ctx, syscall.SIGHUP, "msg=reloaded")
	case broken:
		if err = os.WriteFile(g.edge.file(), []byte(g.config()+"\nnonsense = [\n"), 0o600); err != nil {
			return kind, err
		}
		_, err = g.edge.signal(ctx, syscall.SIGHUP, "reload refused")
		err = errors.Join(err, g.writeConfig())
	case removed:
		err = g.remove(ctx)
	case added:
		err = g.add(ctx)
	default:
		g.secondCA = !g.secondCA
		err = g.reload(ctx, "msg=reloaded")
	}
	return kind, err
}

// remove takes the listener that comes and goes away.
func (g *Rig) remove(ctx context.Context) error {
	address, err := netip.ParseAddrPort(g.edge.address("extra"))
	if err != nil {
		return err
	}
	g.result.kernel.removed[address] = time.Now()
	g.away.Store(true)
	g.extra = false
	return g.reload(ctx, "msg=reloaded")
}

// add brings the listener that comes and goes back.
func (g *Rig) add(ctx context.Context) error {
	g.extra = true
	if err := g.reload(ctx, "msg=reloaded"); err != nil {
		return err
	}
	g.away.Store(false)
	return nil
}

// reload writes the configuration and has it read.
func (g *Rig) reload(ctx context.Context, verdict string) error {
	if err := g.writeConfig(); err != nil {
		return err
	}
	line, err := g.edge.signal(ctx, syscall.SIGHUP, verdict, "reload refused")
	if err == nil && !strings.Contains(line, verdict) {
		err = fmt.Errorf("a reload has failed: %s", line)
	}
	return err
}

// isLive looks whether the last change is in force.
func (g *Rig) isLive(ctx context.Context) error {
	c, err := g.plain("http")(ctx)
	if err != nil {
		return err
	}
	defer hangUp(c)
	c.SetDeadline(time.Now().Add(patience))
	req, err := http.NewRequest(http.MethodGet, "http://version.localhost/", nil)
	if err != nil {
		return err
	}
	got, err := exchange(c, req)
	if want := fmt.Sprint(g.version); err == nil && got != want {
		g.result.problem("after a reload the answer is %q, want %q", got, want)
	}
	return err
}

// upgradeNumber makes the nth upgrade, and says what it was.
func (g *Rig) upgradeNumber(ctx context.Context, n int) (kind string, err error) {
	if n%3 != 1 {
		g.result.upgrades[good]++
		if err := g.upgrade(ctx); err != nil {
			return "", err
		}
		return "an upgrade", g.look(ctx)
	}
	kind = badChildren[n/3%len(badChildren)]
	g.result.upgrades[kind]++
	before, err := g.edge.pid()
	if err != nil {
		return "", err
	}
	if kind == diesServing {
		err = g.killServing(ctx)
	} else {
		err = g.failUpgrade(ctx, kind)
	}
	if after, perr := g.edge.pid(); perr == nil && after != before {
		g.result.problem("after a new process that %s, %d serves and not %d", kind, after, before)
	}
	return "one that " + kind, err
}

// look takes note of what a process has that has just taken over: it has served for its probation.
func (g *Rig) look(ctx context.Context) error {
	pid, err := g.edge.pid()
	if err != nil {
		return err
	}
	r, err := resourcesOf(ctx, pid, g.edge.address("metrics"))
	g.result.generations = append(g.result.generations, r)
	return err
}

const (
	tookOver      = `msg="this process has taken over"`
	upgradeFailed = `msg="upgrade failed`
)

// upgrade replaces the process by a good one.
func (g *Rig) upgrade(ctx context.Context) error {
	line, err := g.edge.signal(ctx, syscall.SIGUSR2, tookOver, upgradeFailed, "upgrade refused")
	if err == nil && !strings.Contains(line, tookOver) {
		g.result.problem("an upgrade has failed: %s", line)
	}
	return err
}

// failUpgrade is an upgrade to a bad child.
func (g *Rig) failUpgrade(ctx context.Context, kind string) error {
	file, err := g.edge.misfit(kind, g.Helper)
	if err != nil {
		return err
	}
	if err := g.edge.becomes(file); err != nil {
		return err
	}
	line, err := g.edge.signal(ctx, syscall.SIGUSR2, upgradeFailed, tookOver)
	if err == nil && !strings.Contains(line, upgradeFailed) {
		g.result.problem("a new process that %s has taken over", kind)
	}
	return errors.Join(err, g.edge.becomes(g.edge.good))
}

// killServing kills a good child when it has served for half its probation.
func (g *Rig) killServing(ctx context.Context) error {
	line, err := g.edge.signal(ctx, syscall.SIGUSR2, `msg="upgrade: the new process serves, on probation"`, upgradeFailed)
	if err != nil {
		return err
	}
	pid := pidIn(line)
	if pid == 0 {
		return fmt.Errorf("the log does not say which process to kill: %s", line)
	}
	pause(ctx, g.Probation/2)
	g.killing.Store(true)
	defer g.killing.Store(false)
	after := g.edge.said()
	if err := g.kill(ctx, pid); err != nil {
		return err
	}
	if _, err := g.edge.await(ctx, after, upgradeFailed); err != nil {
		return err
	}
	pause(ctx, time.Second) // a client that is far away hears of it later, and a slow one looks later
	return nil
}

// kill kills a process and takes note of the connections that it held: stopped, it opens and closes none meanwhile.
func (g *Rig) kill(ctx context.Context, pid int) error {
	if err := halt(ctx, pid); err != nil {
		return errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
	}
	held, err := connectionsOf(pid)
	now := time.Now()
	for _, c := range held {
		g.result.kernel.held[c] = now
	}
	return errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
}

// afterwards looks at what is left when the clients are gone.
func (g *Rig) afterwards(ctx context.Context) error {
	if err := g.edge.oneLeft(ctx); err != nil {
		g.result.problem("%v", err)
	}
	var err error
	if g.result.loaded, err = g.atRest(ctx); err != nil {
		return err
	}
	if err := g.upgrade(ctx); err != nil {
		return err
	}
	if err := g.edge.oneLeft(ctx); err != nil {
		g.result.problem("%v", err)
	}
	g.result.last, err = g.atRest(ctx)
	return err
}

// restLooks is how often a process at rest is looked at, within a second and a half: what it does of its own each second is not there every time,
// what has leaked is.
const restLooks = 6

// atRest is the least that the process that serves has while nobody asks it anything.
func (g *Rig) atRest(ctx context.Context) (least resources, err error) {
	pid, err := g.edge.pid()
	if err != nil {
		return resources{}, err
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for i := range restLooks {
		r, err := resourcesOf(ctx, pid, g.edge.address("metrics"))
		if err != nil {
			return r, err
		}
		if r.Blocking > 0 {
			g.result.problem("sockets that block: %d", r.Blocking)
		}
		if i == 0 {
			least = r
		}
		least = least.and(r)
		<-tick.C
	}
	return least, nil
}

// writeConfig writes the configuration, and one that a new process cannot put in force.
func (g *Rig) writeConfig() error {
	taken := g.config() + fmt.Sprintf("[[listener]]\nname = \"taken\"\nprotocol = \"http\"\naddress = %q\n", g.app.Addr())
	if err := os.WriteFile(filepath.Join(g.dir, "taken.toml"), []byte(taken), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, "edge.toml"), []byte(g.config()), 0o600)
}

// config is the configuration now.
func (g *Rig) config() string {
	extra, on := "", `"https", "http", "unix"`
	if g.extra {
		extra = "[[listener]]\nname = \"extra\"\nprotocol = \"http\"\naddress = \"127.0.0.5:0\"\n"
		on += `, "extra"`
	}
	certs := "certs-1"
	if g.secondCA {
		certs = "certs-2"
	}
	return strings.NewReplacer("DIR", g.dir, "ECHO", g.tunnel.Addr().String(), "APP", g.app.Addr().String(),
		"EXTRA", extra, "ON", on, "CERTS", certs, "VERSION", fmt.Sprint(g.version), "PROBATION", g.Probation.String()).Replace(configuration)
}

const configuration = `state_dir = "DIR/state"
[[listener]]
name = "https"
protocol = "https"
address = "127.0.0.1:0"
[[listener]]
name = "http"
protocol = "http"
address = "127.0.0.2:0"
[[listener]]
name = "tunnel"
protocol = "tcp"
address = "127.0.0.3:0"
proxy = "tcp://ECHO"
[[listener]]
name = "metrics"
protocol = "metrics"
address = "127.0.0.4:0"
[[listener]]
name = "unix"
protocol = "http"
address = "unix:DIR/edge.sock"
EXTRA
[[certificate]]
hosts = ["drill.localhost"]
issuer = "dev"
dir = "DIR/CERTS"
[[vhost]]
hosts = ["drill.localhost"]
listeners = [ON]
proxy = "http://APP"
[[vhost]]
hosts = ["version.localhost"]
listeners = ["http"]
respond = { body = "VERSION" }
[upgrade]
ready = "10s"
probation = "PROBATION"
max_generations = 64
[drain]
spread = "500ms"
stop = "5s"
[log]
access = "off"
`

// plain dials a listener.
func (g *Rig) plain(listener string) Dial {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", g.edge.address(listener))
	}
}

// unix dials the unix socket.
func (g *Rig) unix(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.dir, "edge.sock"))
}

// overTLS makes dial a dial of TLS.
func (g *Rig) overTLS(dial Dial, config *tls.Config) Dial {
	config.RootCAs, config.ServerName = g.roots, "drill.localhost"
	return func(ctx context.Context) (net.Conn, error) {
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		c := tls.Client(&polite{Conn: raw}, config)
		if err := c.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return c, nil
	}
}
