package upgrade

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// script writes a program that exits with a status: a version that can be told from the next.
func script(t *testing.T, path string, status int) {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nexit %d\n", status), 0o700); err != nil {
		t.Fatal(err)
	}
}

// status starts a program and says with which status it exits, or why it does not start.
func status(t *testing.T, p Program) string {
	t.Helper()
	w, _ := reports(t)
	_, _, err := play(p, w, 30*time.Second, 0)
	if err == nil {
		t.Fatal("the upgrade to a script has succeeded")
	}
	return err.Error()
}

// R8: what starts is the file that is at the path by then.
func TestReplacedProgram(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "edge")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	runs := func(want string) {
		t.Helper()
		if got := status(t, Program{Path: path, Dir: dir}); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	script(t, path, 41)
	runs("exit status 41")

	script(t, path+".new", 42)
	must(os.Rename(path+".new", path))
	runs("exit status 42")

	must(os.Remove(path))
	runs(path + ": no such file or directory")

	must(os.Mkdir(filepath.Join(dir, "v1"), 0o700))
	must(os.Mkdir(filepath.Join(dir, "v2"), 0o700))
	script(t, filepath.Join(dir, "v1", "edge"), 43)
	script(t, filepath.Join(dir, "v2", "edge"), 44)
	must(os.Symlink("v1", filepath.Join(dir, "current")))
	path = filepath.Join(dir, "current", "edge")
	runs("exit status 43")
	must(os.Symlink("v2", filepath.Join(dir, "next")))
	must(os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")))
	runs("exit status 44")
}

// R9: what is no program for this machine is refused by name.
func TestNoProgram(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	otherArch := slices.Clone(self[:4096])
	otherArch[18], otherArch[19] = 0xff, 0xff // e_machine
	before := descriptors(t)
	for name, test := range map[string]struct {
		content []byte
		mode    os.FileMode
		want    string
	}{
		"text":         {[]byte("not a program\n"), 0o700, "exec format error"},
		"empty":        {nil, 0o700, "exec format error"},
		"other-arch":   {otherArch, 0o700, "exec format error"},
		"truncated":    {self[:40], 0o700, "exec format error"},
		"no-x-bit":     {self[:4096], 0o600, "permission denied"},
		"interpreter":  {[]byte("#!/no/such/shell\n"), 0o700, "no such file or directory"},
		"no/directory": {nil, 0, "no such file or directory"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if test.mode != 0 {
			if err := os.WriteFile(path, test.content, test.mode); err != nil {
				t.Fatal(err)
			}
		}
		if got := status(t, Program{Path: path, Dir: "/"}); got != "fork/exec "+path+": "+test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := status(t, Program{Path: "/bin/true", Dir: "/no/such/directory"}); !strings.Contains(got, "/no/such/directory") {
		t.Errorf("a working directory that is gone: %s", got)
	}
	same(t, "descriptors", before+2*8, descriptors) // each report's pipe, until the test's end
}

// R8, R5: however a program was started it is found again, in the same place, with the same arguments and environment but for what was for one
// process only.
func TestThisProgram(t *testing.T) {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "bin", "edge")
	if err := os.Mkdir(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ argv0, path string }{
		{link, link}, {"bin/edge", link}, {"./bin/../bin/edge", link}, {"edge", link}, {self, self},
		{"no-such-program", ""}, {"./edge", ""},
	} {
		t.Run(test.argv0, func(t *testing.T) {
			w, read := reports(t)
			cmd := exec.Command(self)
			cmd.Args = []string{test.argv0, "-c", "edge.toml"}
			cmd.Dir, cmd.ExtraFiles = dir, []*os.File{w}
			kept := []string{childVariable + "=program", "GORACE=atexit_sleep_ms=0", "PATH=/no/such:" + filepath.Dir(link), "NOTIFY_SOCKET=/run/n", "EDGE_LISTENERS_OF_MINE=1"}
			cmd.Env = append(slices.Clip(kept), Variable+"=[]", "LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=a", "WATCHDOG_PID=1")
			cmd.Run()
			said := read()
			if test.path == "" {
				if !strings.HasPrefix(said, "error: ") || !strings.Contains(said, test.argv0) {
					t.Errorf("the child reports %q", said)
				}
				return
			}
			var got Program
			if err := json.Unmarshal([]byte(said), &got); err != nil {
				t.Fatal(said, err)
			}
			if got.Path != test.path || got.Dir != dir || !slices.Equal(got.Args, cmd.Args[1:]) {
				t.Errorf("path %s, dir %s, arguments %q", got.Path, got.Dir, got.Args)
			}
			slices.Sort(got.Env)
			slices.Sort(kept)
			if !slices.Equal(got.Env, kept) {
				t.Errorf("environment %q\nwant %q", got.Env, kept)
			}
		})
	}
}

// R4, R5: a program that the new process starts sees neither the variable nor the conversation, and the new process is where the old one was started.
func TestHeir(t *testing.T) {
	w, read := reports(t)
	p := testProgram(t, "heir")
	if _, _, err := play(p, w, 30*time.Second, 0); err == nil {
		t.Fatal("the heir does not end by itself")
	}
	said := read()
	if !strings.Contains(said, "\npwd "+p.Dir+"\n") {
		t.Errorf("the working directory is not %s:\n%s", p.Dir, said)
	}
	if strings.Contains(said, Variable) || strings.Contains(said, "socket:") || !strings.Contains(said, childVariable) {
		t.Errorf("what the new process starts has:\n%s", said)
	}
}

// When the file on disk has become garbage, what runs can still be started again, under its name, and nothing is left of how (R8).
func TestImage(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "edge")
	if err := os.WriteFile(path, self, 0o700); err != nil {
		t.Fatal(err)
	}
	w, read := reports(t)
	cmd := command(t, "image", w)
	cmd.Path, cmd.Args, cmd.Stderr = path, []string{path}, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	said := read()
	for _, want := range []string{"by the path: fork/exec " + path + ": exec format error", "generation 3 [{}", "committed", "it goes by the name " + path} {
		if !strings.Contains(said, want) {
			t.Errorf("it is not said: %s", want)
		}
	}
	if strings.Contains(said, "descriptors") || t.Failed() {
		t.Errorf("said:\n%s", said)
	}
}

// Where no process before has left an image there is no way back; and what HELLO calls an image and is none is left alone.
func TestNoImage(t *testing.T) {
	if _, err := (Program{Path: "/bin/true", Dir: "/"}).Back(); err == nil || !strings.Contains(err.Error(), "no process before") {
		t.Error(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, none := range []*image{nil, {FD: -1}, {FD: descriptor(r)}, {FD: 1 << 20}} {
		if got := none.open(); got != nil {
			t.Errorf("%+v is taken for an image", none)
		}
	}
}
