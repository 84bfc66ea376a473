package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge/edge/serve"
)

// versioned is the program that calls itself by what stands behind it in its file. testscript gives it another name than it was started by.
func versioned() {
	if line, err := os.ReadFile("/proc/self/cmdline"); err == nil {
		os.Args[0], _, _ = strings.Cut(string(line), "\x00")
	}
	version = lastLine
	main()
}

// lastLine is the version of a program that build has made: what stands behind it in its file.
func lastLine() string {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err.Error()
	}
	defer self.Close()
	info, err := self.Stat()
	if err != nil {
		return err.Error()
	}
	tail := make([]byte, 16)
	if _, err := self.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return err.Error()
	}
	_, line, _ := strings.Cut(string(tail), "\n")
	return strings.TrimSpace(line)
}

// build puts a program of a version where path says, in the place of what is there.
func build(t *testing.T, path, version string) {
	t.Helper()
	from, err := exec.LookPath("edge-versioned")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	program = append(program, "\n"+strings.Repeat(" ", 14-len(version))+version+"\n"...)
	if err := os.WriteFile(path+".new", program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// versionNow is the version of the process that serves.
func (p *proc) versionNow() string {
	p.t.Helper()
	list := p.status().Generations
	return list[len(list)-1].Version
}

// `edge upgrade --back` goes on as the program of the process before, as that was, whatever its file is by now (R21): overwritten, or gone. Back once more is
// forward again; and an upgrade without it takes what is on disk.
func TestUpgradeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge-versioned")
	build(t, path, "v1")
	p := start(t, path, config+saysOne)
	upgrade := func(want string, args ...string) {
		t.Helper()
		if out, code := p.cli(append([]string{"upgrade"}, args...)...); code != 0 {
			t.Fatalf("upgrade %v exits with %d: %s", args, code, out)
		}
		if got := p.versionNow(); got != want {
			t.Fatalf("after upgrade %v: version %q, want %q", args, got, want)
		}
		if got := p.curl("http", "app.localhost", "/"); got != "one" {
			t.Errorf("it answers %q", got)
		}
	}
	if out, code := p.cli("upgrade", "--back"); code != 1 || !strings.Contains(out, "no process before this one") {
		t.Errorf("the first process goes back: %d, %s", code, out)
	}
	if out, code := p.cli("upgrade", "--back", "--exec", path); code != 1 || !strings.Contains(out, "exec") {
		t.Errorf("both: %d, %s", code, out)
	}
	build(t, path, "v2")
	upgrade("v2")
	if out, _ := p.cli("status"); !strings.Contains(out, "version      v2\n") {
		t.Errorf("status does not tell the version:\n%s", out)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if out, code := p.cli("upgrade"); code != 1 || !strings.Contains(out, "no such file") {
		t.Errorf("a program that is gone: %d, %s", code, out)
	}
	upgrade("v1", "--back")
	upgrade("v2", "--back")
	upgrade("v1", "--back")
	build(t, path, "v3")
	upgrade("v3")
	upgrade("v1", "--back")
	upgrade("v3")
	if name, _ := os.ReadFile("/proc/" + strconv.Itoa(p.pid()) + "/cmdline"); !strings.HasPrefix(string(name), path+"\x00") {
		t.Errorf("it goes by the name %q", name)
	}
}

// With max_generations processes alive an upgrade is refused and says what each waits for; --retire-oldest ends the oldest that drains, as TERM does, and the
// verdict says what that has cost.
func TestRetireOldest(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	text = strings.Replace(text, "[upgrade]\n", "[upgrade]\nmax_generations = 2\n", 1)
	p := startIn(t, dir, "edge", strings.Replace(text, `stop = "5s"`, `stop = "300ms"`, 1))
	ws := p.webSocket()
	talk(t, ws)
	first := p.pid()
	if out, code := p.cli("upgrade", "--retire-oldest"); code != 0 || strings.Contains(out, "retired") {
		t.Fatalf("where there is room: %d, %s", code, out)
	}
	second := p.pid()
	until(t, "the first process drains", func() bool { return p.status().Generations[0].Phase == "draining" })
	talk(t, ws)
	out, code := p.cli("upgrade")
	for _, want := range []string{"2 generations are alive", "process " + strconv.Itoa(first) + ", generation 1, waits for connections: 1, of them tunnels: https 1", "--retire-oldest"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("an upgrade exits with %d and does not say %q: %s", code, want, out)
		}
	}
	if talk(t, ws); p.pid() != second {
		t.Error("the upgrade that was refused has changed something")
	}
	out, code = p.cli("upgrade", "--retire-oldest")
	if code != 0 || !strings.Contains(out, "process "+strconv.Itoa(first)+", generation 1, was retired, connections that were cut: 1 (stop 1), that finished: 0; process ") {
		t.Errorf("the upgrade exits with %d: %s", code, out)
	}
	ws.SetDeadline(time.Now().Add(soon))
	if _, err := ws.Read(make([]byte, 1)); err == nil {
		t.Error("the WebSocket goes on")
	}
	if p.pid() == second || syscall.Kill(first, 0) == nil {
		t.Errorf("process %d serves, the first one lives: %v", p.pid(), syscall.Kill(first, 0) == nil)
	}
	if a := p.status().Account; a.Cut[serve.Stopped] != 1 || a.Opened != serve.Sum(a.Finished)+uint64(a.Open)+serve.Sum(a.Cut) {
		t.Errorf("the account: %+v", a)
	}
}

// Where more processes live than may, since a reload has allowed fewer, --retire-oldest ends as many as it takes, and says so of each.
func TestRetireUntilThereIsRoom(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	text = strings.Replace(text, `stop = "5s"`, `stop = "300ms"`, 1)
	p := startIn(t, dir, "edge", text)
	var old []int
	for n := range 2 {
		talk(t, p.webSocket()) // it keeps the process
		old = append(old, p.pid())
		p.upgrade()
		until(t, "the old process drains", func() bool { return p.status().Generations[n].Phase == "draining" })
	}
	write(t, dir, strings.Replace(text, "[upgrade]\n", "[upgrade]\nmax_generations = 2\n", 1))
	p.reload()
	out, code := p.cli("upgrade", "--retire-oldest")
	for i, pid := range old {
		if want := fmt.Sprintf("process %d, generation %d, was retired, connections that were cut: 1 (stop 1)", pid, i+1); code != 0 || !strings.Contains(out, want) {
			t.Errorf("the upgrade exits with %d and does not say %q: %s", code, want, out)
		}
	}
	until(t, "two processes are left at most", func() bool { return len(p.alive()) <= 2 })
	if alive := p.alive(); slices.Contains(alive, old[0]) || slices.Contains(alive, old[1]) {
		t.Errorf("alive are %v; %v were to be retired", alive, old)
	}
}
