package listeners

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// factsVariable is where the children of these tests find the facts, and specsVariable what they want.
const (
	factsVariable = "LISTENERS_TEST_FACTS"
	specsVariable = "LISTENERS_TEST_SPECS"
)

// children are what the test binary can be in place of the tests.
var children = map[string]func() error{"starved": starved, "full": full, "passed": passed, "heir": heir, "refuses": refuses}

// heir is a process that inherits its sockets, looks at them and serves until its standard input ends.
func heir() error {
	table, err := Inherit([]byte(os.Getenv(factsVariable)))
	if err != nil {
		return err
	}
	var specs []Spec
	if err := json.Unmarshal([]byte(os.Getenv(specsVariable)), &specs); err != nil {
		return err
	}
	d, mistakes := table.Draft(specs)
	if mistakes != nil {
		return mistakes[0]
	}
	added, gone := d.Commit()
	fmt.Printf("%d added, %d gone\n", len(added), len(gone))
	srv := &server{greeting: "heir"}
	for _, s := range table.Sockets() {
		s.Serve(srv.handle)
		s.control(func(fd int) {
			status, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			own, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			fmt.Println(s.Name(), s.Addr(), "non-blocking", status&unix.O_NONBLOCK != 0, "close-on-exec", own&unix.FD_CLOEXEC != 0)
		})
	}
	list, err := exec.Command("/bin/ls", "-l", "/proc/self/fd").Output()
	if err != nil {
		return err
	}
	fmt.Println(strings.Count(string(list), "socket:"), "sockets in a program that it starts")
	fmt.Println("serving")
	io.Copy(io.Discard, os.Stdin)
	for _, s := range table.Sockets() {
		s.Close()
	}
	srv.wait.Wait()
	return nil
}

// refuses is a process that finds its facts to be wrong.
func refuses() error {
	table, err := Inherit([]byte(os.Getenv(factsVariable)))
	if err == nil {
		err = fmt.Errorf("adopted %d sockets", len(table.Sockets()))
	}
	return err
}

// process is a child with files as descriptors 3 and up.
func process(name string, files []*os.File, facts any) *exec.Cmd {
	text, err := json.Marshal(facts)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name, factsVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = files
	return cmd
}

// R1, R3, R4, R26: a new process gets every kind of socket, finds it again by its spec, keeps it from what it starts in turn, and serves what waits
// there; the descriptors of the old one stay non-blocking, so that it can still pause, resume and close.
func TestHandOnToProcess(t *testing.T) {
	specs := everyKind(t)
	table := &Table{}
	sockets, _ := commit(t, table, specs...)
	closing(t, sockets...)
	for _, s := range sockets {
		s.Serve(newServer(t, "parent").handle)
	}
	files, facts, err := table.HandOn(3)
	if err != nil {
		t.Fatal(err)
	}
	cmd := process("heir", files, facts)
	text, _ := json.Marshal(specs)
	cmd.Env = append(cmd.Env, specsVariable+"="+string(text))
	var said strings.Builder
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	for _, s := range sockets {
		if !flag(t, s, unix.F_GETFL, unix.O_NONBLOCK) {
			t.Errorf("%s has become blocking", s.Name())
		}
		s.Pause()
	}
	buf := make([]byte, 4096)
	for !strings.HasSuffix(said.String(), "serving\n") {
		n, err := stdout.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after:\n%s", err, said.String())
		}
	}
	want := "0 added, 0 gone\n"
	for _, s := range sockets {
		want += fmt.Sprintln(s.Name(), s.Addr(), "non-blocking true close-on-exec true")
	}
	want += "0 sockets in a program that it starts\nserving\n"
	if said.String() != want {
		t.Errorf("the heir says\n%swant\n%s", said.String(), want)
	}
	for _, s := range sockets {
		expect(t, "heir", dialMany(t, s.Addr(), 3)...)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, s := range sockets { // and back again
		conns := dialMany(t, s.Addr(), 3)
		s.Resume()
		expect(t, "parent", conns...)
	}
}

// R1's negative control: the standard library's own way makes the socket that the parent still uses blocking. If this fails, Go has changed, and the test
// above shows nothing any more.
func TestFileIsATrap(t *testing.T) {
	s := listen(t, spec(1, "a", "tcp", "127.0.0.1:0"))
	closing(t, s)
	f, err := s.ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/bin/true")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if flag(t, s, unix.F_GETFL, unix.O_NONBLOCK) {
		t.Error("the socket is still non-blocking")
	}
}

// R3: a process believes no fact that its descriptors do not bear out, and says which; the socket's owner goes on.
func TestWrongFacts(t *testing.T) {
	dir := t.TempDir()
	table := &Table{}
	sockets, _ := commit(t, table, spec(1, "https", "tcp", "127.0.0.1:0"), spec(2, "admin", "tcp", "127.0.0.1:0"), spec(3, "app", "unix", filepath.Join(dir, "app")))
	closing(t, sockets...)
	for _, s := range sockets {
		s.Serve(newServer(t, "parent").handle)
	}
	files, facts, err := table.HandOn(3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	regular, err := os.Create(filepath.Join(dir, "regular"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	deaf := rawSocket(t, unix.SOCK_STREAM)
	datagrams := rawSocket(t, unix.SOCK_DGRAM)
	for name, test := range map[string]struct {
		spoil func(files []*os.File, facts []Fact)
		want  string
	}{
		"two swapped": {func(_ []*os.File, facts []Fact) { facts[0].FD, facts[1].FD = 4, 3 },
			fmt.Sprintf(`inherited descriptor 4, said to be listener "https" on tcp %s: it is bound to tcp %s`, facts[0].Address, facts[1].Address)},
		"two files swapped": {func(files []*os.File, _ []Fact) { files[1], files[2] = files[2], files[1] },
			fmt.Sprintf(`inherited descriptor 4, said to be listener "admin" on tcp %s: it is bound to unix %s`, facts[1].Address, facts[2].Address)},
		"one off": {func(_ []*os.File, facts []Fact) {
			for i := range facts {
				facts[i].FD++
			}
		}, `inherited descriptor 4, said to be listener "https"`},
		"another address": {func(_ []*os.File, facts []Fact) { facts[1].Address = "127.0.0.1:443" }, "on tcp 127.0.0.1:443: it is bound to tcp " + facts[1].Address},
		"another network": {func(_ []*os.File, facts []Fact) { facts[1].Network = "udp" }, "it is bound to tcp"},
		"another path":    {func(_ []*os.File, facts []Fact) { facts[2].Address += "2" }, "it is bound to unix " + facts[2].Address},
		"does not listen": {func(files []*os.File, _ []Fact) { files[0] = deaf }, `descriptor 3, said to be listener "https" on tcp ` + facts[0].Address + ": the socket does not listen"},
		"datagrams":       {func(files []*os.File, _ []Fact) { files[0] = datagrams }, "the socket does not listen"},
		"no socket":       {func(files []*os.File, _ []Fact) { files[2] = regular }, `descriptor 5, said to be listener "app" on unix ` + facts[2].Address + ": socket operation on non-socket"},
		"nothing there":   {func(_ []*os.File, facts []Fact) { facts[2].FD = 200 }, "descriptor 200, said to be listener \"app\" on unix " + facts[2].Address + ": bad file descriptor"},
		"right, for once": {func([]*os.File, []Fact) {}, "adopted 3 sockets"},
		"one twice":       {func(_ []*os.File, facts []Fact) { facts[0] = facts[2] }, `inherited descriptor 5, said to be listener "app"`},
	} {
		given, told := append([]*os.File(nil), files...), append([]Fact(nil), facts...)
		test.spoil(given, told)
		out, _ := process("refuses", given, told).Output()
		if !strings.Contains(string(out), test.want) {
			t.Errorf("%s: %q\nwant %q", name, out, test.want)
		}
	}
	for _, s := range sockets {
		expect(t, "parent", dialMany(t, s.Addr(), 1)...)
	}
}

// rawSocket is a TCP or UDP socket that is bound, but does not listen.
func rawSocket(t *testing.T, kind int) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "raw")
	t.Cleanup(func() { f.Close() })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return f
}
