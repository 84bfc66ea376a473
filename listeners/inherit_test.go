package listeners

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// inherit hands a table's sockets on as to a new process, within this one.
func inherit(t *testing.T, table *Table) *Table {
	t.Helper()
	files, facts, err := table.HandOn(3)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if facts[i].FD, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD, 3); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	text, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	heirs, err := Inherit(text)
	if err != nil {
		t.Fatal(err)
	}
	return heirs
}

// R3: the facts are those of the sockets, in the table's order; what is handed on stays non-blocking and goes to no program but the one meant.
func TestHandOn(t *testing.T) {
	table := &Table{}
	specs := everyKind(t)
	added, _ := commit(t, table, specs...)
	closing(t, added...)
	files, facts, err := table.HandOn(7)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(specs) || len(facts) != len(specs) {
		t.Fatalf("%d files, %d facts", len(files), len(facts))
	}
	for i, f := range files {
		s := table.Sockets()[i]
		want := Fact{FD: 7 + i, Name: specs[i].Name, Network: specs[i].Network, Address: s.ln.Addr().String(), File: facts[i].File}
		if want.Address != specs[i].Address {
			want.Asked = specs[i].Address
		}
		if facts[i] != want || (want.File != "") != (specs[i].Name == "path") {
			t.Errorf("%+v, want %+v", facts[i], want)
		}
		flags, err1 := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		fdFlags, err2 := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if err1 != nil || err2 != nil || flags&unix.O_NONBLOCK == 0 || fdFlags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: flags %#o, %#o", f.Name(), flags, fdFlags)
		}
		name, err := unix.Getsockname(int(f.Fd()))
		var own unix.Sockaddr
		s.control(func(fd int) { own, _ = unix.Getsockname(fd) })
		if err != nil || !reflect.DeepEqual(name, own) {
			t.Errorf("file %d is bound to %+v, the socket to %+v", i, name, own)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestHandOnNothing(t *testing.T) {
	files, facts, err := (&Table{}).HandOn(3)
	if files != nil || facts != nil || err != nil {
		t.Errorf("%v, %v, %v", files, facts, err)
	}
	text, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	if table, err := Inherit(text); err != nil || len(table.Sockets()) != 0 {
		t.Errorf("%s: %v, %v", text, table, err)
	}
}

// R6, R26, R29: over twenty generations the descriptors do not grow, the sockets are the same, their files are there, and no client loses anything: neither
// one that comes at any moment, nor one that waits when the generation changes.
func TestGenerations(t *testing.T) {
	specs := everyKind(t)
	table := &Table{}
	sockets, _ := commit(t, table, specs...)
	serve := func(generation int) {
		for _, s := range sockets {
			s.Serve(newServer(t, fmt.Sprint(generation)).handle)
		}
	}
	serve(0)
	addrs := make([]net.Addr, len(sockets))
	for i, s := range sockets {
		addrs[i] = s.Addr()
	}
	before := descriptors()
	for generation := 1; generation <= 20; generation++ {
		stop := make(chan struct{})
		var clients sync.WaitGroup
		clients.Go(func() { anyGeneration(t, addrs, stop) })
		heirs := inherit(t, table)
		for _, s := range sockets {
			s.Pause()
		}
		// What comes now waits in the queue that both have.
		waiting := dialMany(t, addrs[generation%len(addrs)], 5)
		old := sockets
		d, mistakes := heirs.Draft(specs)
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		if added, gone := d.Commit(); len(added)+len(gone) != 0 {
			t.Fatalf("generation %d: %d added, %d gone: what is inherited is not found again", generation, len(added), len(gone))
		}
		table, sockets = heirs, heirs.Sockets()
		serve(generation)
		for _, s := range old {
			s.CloseParked()
		}
		close(stop)
		clients.Wait()
		for _, c := range waiting {
			if got, err := greeting(c); got != fmt.Sprint(generation) && got != fmt.Sprint(generation-1) || err != nil {
				t.Errorf("one who waited gets %q, %v", got, err)
			}
		}
		for i, a := range addrs {
			expect(t, fmt.Sprint(generation), dialMany(t, a, 1)...)
			if sockets[i].Addr().String() != a.String() || sockets[i].Name() != specs[i].Name {
				t.Errorf("generation %d: %s is %s", generation, sockets[i].Name(), sockets[i].Addr())
			}
		}
		until(t, fmt.Sprintf("generation %d has as many descriptors as the first", generation), func() bool { return descriptors() == before })
	}
	closing(t, sockets...)
}

// anyGeneration connects to each address in turn, and must be greeted.
func anyGeneration(t *testing.T, addrs []net.Addr, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		c, err := dial(addrs[i%len(addrs)])
		if err != nil {
			t.Error(err)
			return
		}
		if got, err := greeting(c); got == "" || err != nil {
			t.Errorf("%s: %q, %v", addrs[i%len(addrs)], got, err)
			return
		}
	}
}

// R26: the queue belongs to the socket, not to a process: what waited is served by the heir when its first owner is gone without a look at it.
func TestQueueOutlivesOwner(t *testing.T) {
	table := &Table{}
	added, _ := commit(t, table, spec(1, "a", "tcp", "127.0.0.1:0"))
	conns := dialMany(t, added[0].Addr(), 200)
	heirs := inherit(t, table).Sockets()
	added[0].Close() // it was never served from
	closing(t, heirs...)
	heirs[0].Serve(newServer(t, "heir").handle)
	expect(t, "heir", conns...)
}

// What is no list of facts, or names what is not there, is refused.
func TestBadFacts(t *testing.T) {
	for facts, want := range map[string]string{
		``:                   "unexpected end of JSON input",
		`https`:              "invalid character 'h'",
		`{"fd":3}`:           "cannot unmarshal object",
		`[{"fd":"3"}]`:       "cannot unmarshal string",
		`[{"fd":3},]`:        "invalid character ']'",
		`[] []`:              "invalid character '['",
		`[{"fd":999}]`:       "bad file descriptor",
		`[{"fd":-1}]`:        "bad file descriptor",
		`[{"name":"no fd"}]`: `inherited descriptor 0, said to be listener "no fd"`,
	} {
		if _, err := Inherit([]byte(facts)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", facts, err, want)
		}
	}
	if _, err := os.Stdin.Stat(); err != nil {
		t.Error(err)
	}
}
