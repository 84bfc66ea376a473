package edge

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
	"edge/edge/serve"
	"edge/edge/tunnel"
	"edge/listeners"
)

// lines is a log's output: its messages, without their times.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

var untimed = regexp.MustCompile(`time=\S+ level=\S+ `)

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(untimed.ReplaceAllString(l.buf.String(), "")), "\n")
}

// pipe is an end of a net.Pipe, which has no half-close.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return p.Close() }

// tunnelled gives a server with one tunnel of a listener "db", and what ends the tunnel.
func tunnelled(drain conf.Drain) (s *Server, log *lines, end func()) {
	log = new(lines)
	to := slog.New(slog.NewTextHandler(log, nil))
	s = &Server{log: to, table: &listeners.Table{}, conns: serve.New(to), drafting: make(chan struct{}, 1)}
	s.live.Swap(&Snapshot{conf: &conf.Config{Drain: drain}})
	client, front := net.Pipe()
	back, up := net.Pipe()
	s.conns.Handle(front, &serve.Settings{Listener: "db", Tunnel: func(ctx context.Context, c *serve.Conn) {
		s.tunnels.Join(ctx, tunnel.Facts{Listener: "db"}, 1000*time.Hour, c, pipe{back})
		back.Close()
	}}, func() {})
	synctest.Wait()
	return s, log, func() { client.Close(); up.Close() }
}

// A drain says what it waits for at its beginning, once a minute, and that it has ended.
func TestDrainSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log, end := tunnelled(conf.Drain{})
		ended := make(chan int64, 1)
		go func() { ended <- s.drain(t.Context()) }()
		time.Sleep(150 * time.Second)
		end()
		if cut := <-ended; cut != 0 {
			t.Errorf("%d were cut", cut)
		}
		want := []string{
			`msg=draining open=1 tunnels="db 1" "hard limit"=0s`, `msg=draining open=1 tunnels="db 1"`, `msg=draining open=1 tunnels="db 1"`, `msg=drained cut=0`,
		}
		if got := log.all(); !slices.Equal(got, want) {
			t.Errorf("the log says\n%s", strings.Join(got, "\n"))
		}
	})
}

// The hard limit of a drain cuts a tunnel, and so does a stop; both say so before and after.
func TestCutsAreSaid(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(*Server) int64
		want []string
	}{
		"drain": {func(s *Server) int64 { return s.drain(context.Background()) }, []string{
			`msg=draining open=1 tunnels="db 1" "hard limit"=1m30s`, `msg=draining open=1 tunnels="db 1"`,
			`msg="drain: the hard limit cuts what is left" open=1 tunnels="db 1"`, `msg=drained cut=1`,
		}},
		"stop": {func(s *Server) int64 { return s.stop(context.Background()) }, []string{
			`msg=stopping open=1 tunnels="db 1" "at most"=1m30s`, `msg=stopping open=1 tunnels="db 1"`, `msg=stopped cut=1`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log, end := tunnelled(conf.Drain{Hard: 90 * time.Second, Stop: 90 * time.Second})
				defer end()
				if cut := c.run(s); cut != 1 {
					t.Errorf("%d were cut", cut)
				}
				if got := log.all(); !slices.Equal(got, c.want) {
					t.Errorf("the log says\n%s", strings.Join(got, "\n"))
				}
				if n := s.tunnels.Count(); len(n) > 0 {
					t.Errorf("still open: %v", n)
				}
			})
		})
	}
}

func TestByListener(t *testing.T) {
	for want, count := range map[string]map[string]int{"none": {}, "db 3": {"db": 3}, "a 1, db 3, https 2": {"https": 2, "db": 3, "a": 1}} {
		if got := byListener(count); got != want {
			t.Errorf("%v is %q", count, got)
		}
	}
}

// A removed listener says what is left of it, also if its address has a new one meanwhile, or its name.
func TestSeeOff(t *testing.T) {
	dir, up := t.TempDir(), greeter(t)
	db := func(address string) string {
		return "[[listener]]\nname = \"db\"\nprotocol = \"tcp\"\naddress = [\"" + address + "\", \"unix:DIR/db\"]\nproxy = \"tcp://APP\"\n"
	}
	s := newServer(t, dir, up, base+db("127.0.0.3:0"))
	log := new(lines)
	s.log = slog.New(slog.NewTextHandler(log, nil))
	s.start(s.table.Sockets())
	socket := socketOf(s, "db", "tcp")
	first, from := socket.Addr().String(), s.crowds[socket].from
	old := speak(t, "tcp", first)
	reload := func(text string) {
		t.Helper()
		load(t, dir, up, text)
		if err := s.reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reload(base + db("127.0.0.2:0"))
	closed := time.Now()
	speak(t, "tcp", socketOf(s, "db", "tcp").Addr().String())
	speak(t, "unix", dir+"/db")
	reload(base + db(first))
	speak(t, "tcp", first)
	if n := s.tunnelsOf(socket, from, closed); n != 1 {
		t.Errorf("the first socket has %d tunnels left, want 1", n)
	}
	reload(base)
	old.Close()
	drained := func(address string) string { return "msg=\"listener drained\" listener=db address=" + address }
	wait := func(what string) {
		t.Helper()
		for limit := time.Now().Add(10 * time.Second); !slices.Contains(log.all(), what); time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("the log does not say %q, but\n%s", what, strings.Join(log.all(), "\n"))
			}
		}
	}
	wait(drained(first))
	var drains []string
	for _, line := range log.all() {
		if rest, ok := strings.CutPrefix(line, `msg="listener drains" listener=db `); ok {
			drains = append(drains, rest[strings.Index(rest, " ")+1:])
		}
	}
	if !slices.Equal(drains, []string{"open=1 tunnels=1", "open=1 tunnels=1", "open=1 tunnels=1", "open=1 tunnels=1"}) {
		t.Errorf("the listeners that drain have %q", drains)
	}
}

// Which socket a tunnel came by is known by its address.
func TestCameBy(t *testing.T) {
	s := newServer(t, t.TempDir(), "", base+"[[listener]]\nname = \"u\"\nprotocol = \"http\"\naddress = \"unix:DIR/u\"\n")
	for _, socket := range s.table.Sockets() {
		at, _ := netip.ParseAddrPort(socket.Addr().String())
		for what, c := range map[string]struct {
			name  string
			local netip.AddrPort
			want  bool
		}{
			"its address":    {socket.Name(), at, true},
			"another port":   {socket.Name(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1), false},
			"another":        {socket.Name(), netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), at.Port()), false},
			"a name's other": {"other", netip.AddrPort{}, false},
		} {
			if got := cameBy(socket, tunnel.State{Facts: tunnel.Facts{Listener: c.name, Local: c.local}}); got != c.want {
				t.Errorf("%v, %s: %v", socket.Addr(), what, got)
			}
		}
	}
}

// greeter is a TCP server that says hello, and ends with its client.
func greeter(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprint(c, "hello")
				c.Read(make([]byte, 1))
			}()
		}
	}()
	return l.Addr().String()
}

// speak opens a tunnel, and hears its upstream.
func speak(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	return c
}

func socketOf(s *Server, name, network string) *listeners.Socket {
	for _, socket := range s.table.Sockets() {
		if socket.Name() == name && socket.Addr().Network() == network {
			return socket
		}
	}
	return nil
}
