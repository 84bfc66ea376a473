package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stores waits for a process to have sockets stored, as the next notices, in any order, and gives them by their names.
func (m *serviceManager) stores(from int, names ...string) map[string]*os.File {
	m.t.Helper()
	stored := map[string]*os.File{}
	for range names {
		got := m.next()
		if got.from != from || len(got.lines) != 2 || got.lines[0] != "FDSTORE=1" || len(got.files) != 1 {
			m.t.Fatalf("process %d says %q with %d descriptors; want FDSTORE of process %d", got.from, got.lines, len(got.files), from)
		}
		stored[strings.TrimPrefix(got.lines[1], "FDNAME=")] = got.files[0]
	}
	for _, name := range names {
		if stored[name] == nil {
			m.t.Fatalf("stored is %v, not %s", stored, name)
		}
	}
	return stored
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// activator is a program that starts edge as systemd does, with the sockets that it keeps by these names.
func activator(t *testing.T, names ...string) string {
	t.Helper()
	path, err := exec.LookPath("edge")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexport LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s\nexec %s \"$@\"\n", len(names), strings.Join(names, ":"), path)
	wrapper := filepath.Join(t.TempDir(), "activate")
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return wrapper
}

// The listening sockets are in the service manager's store, those that a reload or an upgrade adds too, and those that it takes away no more; so the clients that
// wait when edge is killed, and who come while it is gone, are served by the process that is started next. What of the store nobody wants by then is forgotten.
func TestSocketsAreStored(t *testing.T) {
	m := newServiceManager(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("FDSTORE", "16")
	one, two, three := freeAddr(t), freeAddr(t), freeAddr(t)
	name := func(addr string) string { return "edge-tcp-" + strings.ReplaceAll(addr, ":", "_") }
	listener := func(name, addr string) string {
		return fmt.Sprintf("[[listener]]\nname = %q\naddress = %q\nprotocol = \"http\"\n", name, addr)
	}
	const head = "state_dir = \"DIR/state\"\n[upgrade]\nprobation = \"200ms\"\n"
	const siteOf = "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"LISTENER\"]\naccess = \"public\"\nrespond = { body = \"here\" }\n"
	site := strings.Replace(siteOf, "LISTENER", "one", 1)
	unixSocket := "[[listener]]\nname = \"path\"\naddress = \"unix:DIR/path.sock\"\nprotocol = \"http\"\n"
	dir := t.TempDir()
	p := startIn(t, dir, "edge", head+listener("one", one)+listener("two", two)+unixSocket+site)
	first := p.pid()
	kept := m.stores(first, name(one), name(two))
	m.hears(first, "READY=1", fmt.Sprintf("MAINPID=%d", first), "STATUS=serving")

	write(t, dir, head+listener("one", one)+listener("three", three)+site)
	p.reload()
	m.hears(first, "RELOADING=1", "MONOTONIC_USEC=…")
	m.hears(first, "FDSTOREREMOVE=1", "FDNAME="+name(two))
	kept[name(two)].Close() // as the manager does
	m.stores(first, name(one), name(three))
	m.hears(first, "READY=1", "STATUS=serving; reloaded")

	write(t, dir, head+listener("one", one)+listener("two", two)+site)
	p.upgrade()
	second := p.pid()
	stored := map[string]*os.File{}
	var said []string
	for range 4 { // the parent's word comes when it may
		got := m.next()
		if len(got.files) == 1 {
			stored[strings.TrimPrefix(got.lines[1], "FDNAME=")] = got.files[0]
		}
		said = append(said, fmt.Sprint(got.from, " ", got.lines[0], " ", got.lines[1]))
	}
	for _, want := range []string{
		fmt.Sprint(second, " FDSTOREREMOVE=1 FDNAME=", name(three)), fmt.Sprint(second, " FDSTORE=1 FDNAME=", name(one)), fmt.Sprint(second, " FDSTORE=1 FDNAME=", name(two)),
	} {
		if !slices.Contains(said, want) {
			t.Errorf("%q is not said; said is %q", want, said)
		}
	}
	until(t, "the first process has ended", func() bool { return len(p.alive()) == 1 })

	ask := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", one)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(soon))
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
		return c
	}
	syscall.Kill(second, syscall.SIGSTOP)
	until(t, "all threads of it have stopped", func() bool { return halted(second) })
	waiting := []net.Conn{ask(), ask()} // in the queue of a process that is killed
	syscall.Kill(second, syscall.SIGKILL)
	until(t, "edge is dead", func() bool { return len(p.alive()) == 0 })
	waiting = append(waiting, ask()) // nobody is there

	again := startWith(t, dir, activator(t, name(one), name(two)), head+listener("renamed", one)+strings.Replace(siteOf, "LISTENER", "renamed", 1), stored[name(one)], stored[name(two)])
	third := again.pid()
	again.waitLog(`msg="socket taken as it was passed" listener=renamed address=` + one)
	m.hears(third, "FDSTOREREMOVE=1", "FDNAME="+name(two))
	m.stores(third, name(one))
	m.hears(third, "READY=1", fmt.Sprintf("MAINPID=%d", third), "STATUS=serving")
	for i, c := range waiting {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("client %d: %v, %v", i, resp, err)
		}
	}
}

// halted says whether every thread of a process has stopped: SIGSTOP only asks for it.
func halted(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if _, after, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(after, "T") {
			return false
		}
	}
	return err == nil
}
