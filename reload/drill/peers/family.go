package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of whatever its children leave behind: daemons, and generations that follow one another. So all that was
// started here, and nothing else, is below it.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// ended says whether a child has ended, and if so, buries it.
func ended(pid int) bool {
	got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	return got == pid || errors.Is(err, syscall.ECHILD) && syscall.Kill(pid, 0) != nil
}

// descendants are the processes below this one, without those that have ended.
func descendants() (all []int) {
	parents := map[int]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		if pid, parent, zombie := statOf(string(text)); !zombie {
			parents[pid] = parent
		}
	}
	us := os.Getpid()
	for pid := range parents {
		for above, ok := parents[pid]; ok; above, ok = parents[above] {
			if above == us {
				all = append(all, pid)
				break
			}
		}
	}
	return all
}

// statOf reads a /proc/PID/stat: "PID (NAME) STATE PARENT …", where the name may hold anything.
func statOf(text string) (pid, parent int, zombie bool) {
	pid, _ = strconv.Atoi(text[:max(0, strings.IndexByte(text, ' '))])
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) > 1 {
		parent, _ = strconv.Atoi(fields[1])
	}
	return pid, parent, len(fields) > 0 && fields[0] == "Z"
}

// endAll ends all that was started: in good order first.
func endAll() error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		signalled := []int{}
		for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			left := descendants()
			if len(left) == 0 {
				bury()
				return nil
			}
			for _, pid := range left {
				if !slices.Contains(signalled, pid) {
					signalled = append(signalled, pid)
					syscall.Kill(pid, sig)
				}
			}
		}
	}
	return fmt.Errorf("processes that cannot be ended: %v", descendants())
}

// bury takes note of the children that have ended.
func bury() {
	for {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
			return
		}
	}
}
