package drill

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The new processes that cannot take over. Each must leave the running one as it was.
const (
	exits         = "exits at once"
	hangs         = "hangs before READY"
	garbage       = "talks garbage"
	version       = "speaks another version"
	noConfig      = "cannot read the configuration"
	cannotBind    = "cannot bind"
	wrongMap      = "is told of wrong sockets"
	diesAtGo      = "dies at GO"
	diesServing   = "dies in probation"
	notExecutable = "is not executable"
)

// good is one that can.
const good = "good"

// badChildren are all of them. A run has them in turn, so their order says which ones a short run sees.
var badChildren = []string{diesServing, garbage, exits, wrongMap, diesAtGo, noConfig, cannotBind, version, notExecutable, hangs}

// misfit makes the file that plays a bad child in place of the program.
func (p *program) misfit(kind, helper string) (file string, err error) {
	file = filepath.Join(p.dir, "misfit")
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	mode, script := os.FileMode(0o700), fmt.Sprintf("exec %q drill misfit %q %q \"$@\"", helper, kind, p.good)
	switch kind {
	case noConfig:
		script = fmt.Sprintf("exec %q -c %q", p.good, filepath.Join(p.dir, "missing.toml"))
	case cannotBind:
		script = fmt.Sprintf("exec %q -c %q", p.good, filepath.Join(p.dir, "taken.toml"))
	case notExecutable:
		mode = 0o600
	}
	return file, os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), mode)
}

// Misfit is a bad child's part, in the process that an edge has started for an upgrade. good is the program that it is in the place of, with
// its arguments.
func Misfit(kind string, good []string) error {
	facts := os.Getenv("EDGE_LISTENERS")
	var list []map[string]any
	if err := json.Unmarshal([]byte(facts), &list); err != nil {
		return fmt.Errorf("this is for a process that is started for an upgrade: %w", err)
	}
	conversation := 3 + len(list)
	switch kind {
	case exits:
		return nil
	case hangs:
		select {}
	case garbage:
		return say(conversation, "\x16\x03\x01 garbage")
	case version:
		return say(conversation, `{"v":0,"kind":"READY"}`)
	case diesAtGo:
		return dieAtGo(conversation)
	case wrongMap:
		list[0]["fd"], list[1]["fd"] = list[1]["fd"], list[0]["fd"]
		text, err := json.Marshal(list)
		if err != nil {
			return err
		}
		os.Setenv("EDGE_LISTENERS", string(text))
		return syscall.Exec(good[0], good, os.Environ())
	}
	return fmt.Errorf("no such part: %q", kind)
}

// say says something in the conversation, and then nothing any more.
func say(conversation int, what string) error {
	if _, err := unix.Write(conversation, []byte(what)); err != nil {
		return err
	}
	select {}
}

// dieAtGo says that it is ready, and dies when it is told to go on.
func dieAtGo(conversation int) error {
	if _, err := unix.Write(conversation, []byte(`{"v":1,"kind":"READY"}`)); err != nil {
		return err
	}
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Read(conversation, buf)
		if err != nil || n == 0 {
			return err
		}
		if strings.Contains(string(buf[:n]), `"GO"`) {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
}
