package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// childVariable makes the test binary one of children in place of the tests.
const childVariable = "UPGRADE_TEST_CHILD"

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(childVariable); ok {
		time.AfterFunc(time.Minute, func() { os.Exit(99) }) // whatever becomes of the test
		if err := children[name](); err != nil {
			report("error: %v", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// children are the processes that an upgrade can meet. Descriptor 3, the one file that they get, is a pipe to which they report.
var children map[string]func() error

func init() { // not in the declaration: a child starts children
	children = map[string]func() error{
		"good": func() error { return takeOver(nil) },
		"sick": func() error {
			return takesOver(nil, func() Health { return Health{Requests: 10, Failed: 4, Panics: 5} })
		},
		"exits":               func() error { os.Exit(7); return nil },
		"exits with a word":   exitsWithAWord,
		"fails":               func() error { return fails(errors.New("no certificate for a.example")) },
		"fails at length":     func() error { return fails(errors.New(strings.Repeat("\x01", 300<<10))) },
		"fails, hears nobody": func() error { return raw(`{"v":1,"kind":"FAIL","reason":"deaf"}`) },
		"hangs":               func() error { select {} },
		"garbage":             func() error { return raw("garbage", "") },
		"too long":            func() error { return raw(`{"v":1,"kind":"READY"}`+strings.Repeat(" ", 70000), "") },
		"out of turn":         func() error { return raw(`{"v":1,"kind":"SERVING"}`, "") },
		"unknown":             func() error { return raw(`{"v":1,"kind":"HELP"}`, "") },
		"old":                 func() error { return raw(`{"v":0,"kind":"READY"}`, "") },
		"chatters":            chatters,
		"closes":              closes,
		"exits at GO":         func() error { return takeOver(map[kind]func(*Parent){goOn: func(*Parent) { os.Exit(9) }}) },
		"killed in probation": func() error { return takeOver(map[kind]func(*Parent){serving: func(*Parent) { die() }}) },
		"fails in probation": func() error {
			return takeOver(map[kind]func(*Parent){serving: func(p *Parent) { p.Fail(errors.New("too many errors")) }})
		},
		"no kind in probation": func() error {
			return takeOver(map[kind]func(*Parent){serving: func(p *Parent) { p.c.Write([]byte(`{"v":1}`)) }})
		},
		"ignores ABORT":        func() error { takeOver(nil); select {} },
		"parent dies at READY": func() error { return parentDies(ready) },
		"parent dies serving":  func() error { return parentDies(serving) },
		"chain":                chain,
		"heir":                 heir,
		"program":              program,
		"image":                goesBack,
		"remembers":            remembers,
		"older":                older,
		"inherited":            func() error { _, _, err := Inherited(); return err },
	}
}

// report tells the test something.
func report(format string, args ...any) {
	unix.Write(firstFD, fmt.Appendf(nil, format+"\n", args...))
}

func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// takeOver is what a child does that is as it should be; then does something after it has said READY (when GO comes) or SERVING.
func takeOver(then map[kind]func(*Parent)) error { return takesOver(then, nil) }

func takesOver(then map[kind]func(*Parent), health func() Health) error {
	p, facts, err := Inherited()
	if err != nil {
		return err
	}
	report("generation %d %s", p.Generation, facts)
	if err := p.Ready(context.Background()); err != nil {
		return err
	}
	if f := then[goOn]; f != nil {
		f(p)
	}
	if f := then[serving]; f != nil {
		p.c.send(message{Kind: serving})
		f(p)
		select {}
	}
	if err := p.Serving(context.Background(), health); err != nil {
		return err
	}
	report("committed")
	return nil
}

func fails(reason error) error {
	p, _, err := Inherited()
	if err != nil {
		return err
	}
	return p.Fail(reason)
}

func exitsWithAWord() error {
	fmt.Fprintln(os.Stderr, "conf/edge.toml:1:1: unknown key")
	os.Exit(1)
	return nil
}

// raw says what it is told to, without listening first; an empty packet stands for a hang.
func raw(packets ...string) error {
	for _, p := range packets {
		if p == "" {
			select {}
		}
		if _, err := unix.Write(firstFD+1, []byte(p)); err != nil {
			return err
		}
	}
	return nil
}

func chatters() error {
	for {
		if err := raw(`{"v":1,"kind":"SERVING"}`); err != nil {
			return err
		}
	}
}

func closes() error {
	p, _, err := Inherited()
	if err != nil {
		return err
	}
	p.c.Close()
	select {}
}

// parentDies starts a good child, and dies when it has said at.
func parentDies(at kind) error {
	p, err := ThisProgram()
	if err != nil {
		return err
	}
	p.Env = append(p.Env, childVariable+"=good")
	c, err := Start(p, 2, []*os.File{os.NewFile(firstFD, "report")}, []byte(`[{}]`))
	if err != nil {
		return err
	}
	if err := c.Ready(context.Background()); err != nil {
		return err
	}
	if at == serving {
		if err := c.Go(context.Background()); err != nil {
			return err
		}
	}
	die()
	return nil
}

// generations is how many chain makes.
const generations = 20

// chain is a process that takes over, and is replaced by another one until there have been enough.
func chain() error {
	p, _, err := Inherited()
	if err != nil {
		return err
	}
	self, err := ThisProgram()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := p.Ready(ctx); err != nil {
		return err
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	if err := p.Serving(ctx, nil); err != nil {
		return err
	}
	report("generation %d: %d variables, %d descriptors", p.Generation, len(self.Env), len(fds))
	if p.Generation == generations {
		return nil
	}
	c, err := Start(self, p.Generation+1, []*os.File{os.NewFile(firstFD, "report")}, []byte(`[{}]`))
	if err != nil {
		return err
	}
	return errors.Join(c.Ready(ctx), c.Go(ctx), c.Probation(ctx, time.Millisecond, healthy), c.Commit())
}

// heir reports what a program that it starts finds.
func heir() error {
	if _, _, err := Inherited(); err != nil {
		return err
	}
	text, err := exec.Command("/bin/sh", "-c", "env; echo; echo pwd $(pwd); ls -l /proc/self/fd").Output()
	report("%s", text)
	return err
}

// program reports how it would be started again.
func program() error {
	p, err := ThisProgram()
	if err != nil {
		return err
	}
	text, err := json.Marshal(p)
	report("%s", text)
	return err
}

// goesBack replaces the program on disk by garbage, and then itself by what it was started from, as if the process before had been the same.
func goesBack() error {
	p, err := ThisProgram()
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(p.Path+".new", []byte("garbage"), 0o700), os.Rename(p.Path+".new", p.Path)); err != nil {
		return err
	}
	p.Env = append(p.Env, childVariable+"=good")
	files := []*os.File{os.NewFile(firstFD, "report"), os.Stderr, os.Stderr, os.Stderr, os.Stderr, os.Stderr, os.Stderr}
	facts := []byte(`[{},{},{},{},{},{},{}]`)
	if _, err := Start(p, 2, files, facts); err != nil {
		report("by the path: %v", err)
	}
	before, _ := os.ReadDir("/proc/self/fd")
	p.before = p.runs
	if p, err = p.Back(); err != nil {
		return err
	}
	c, err := Start(p, 3, files, facts)
	if err != nil {
		return err
	}
	ctx := context.Background()
	err = errors.Join(c.Ready(ctx), c.Go(ctx), c.Probation(ctx, time.Millisecond, healthy))
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.PID()))
	err = errors.Join(err, c.Commit())
	report("it goes by the name %s", name)
	<-c.exited
	c.Settled(time.Minute)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // a goroutine closes the conversation
		after, _ := os.ReadDir("/proc/self/fd")
		if len(after) == len(before) {
			break
		}
		if time.Now().After(deadline) {
			report("%d descriptors, %d before", len(after), len(before))
			break
		}
	}
	return errors.Join(err, c.exit)
}

// testProgram is the test binary as one of children.
func testProgram(t *testing.T, name string) Program {
	t.Helper()
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return Program{Path: path, Dir: t.TempDir(), Env: append(cleanEnv(os.Environ()), childVariable+"="+name, "GORACE=atexit_sleep_ms=0")}
}

// command is a child that nobody begins an upgrade with.
func command(t *testing.T, name string, extra ...*os.File) *exec.Cmd {
	p := testProgram(t, name)
	cmd := exec.Command(p.Path)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = p.Env, p.Dir, extra
	return cmd
}
