package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of the times in /proc: USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// A usage is the CPU time that a server, with its children, has taken so far, and that of all others.
type usage struct {
	at           time.Time
	own          time.Duration // exact
	user, system time.Duration // in ticks: only good for a share
	origin       time.Duration
	busy         time.Duration // of all CPUs, by anybody
	memory       int64         // the server's, in bytes; pages that its processes share count once (PSS)
}

// look reads a usage. Processes that end between two looks are missing in the second: no contestant has such but around a reload.
func (l *lab) look(p *process) (usage, error) {
	u := usage{at: time.Now()}
	pids, err := tree(p.cmd.Process.Pid)
	if err != nil {
		return u, err
	}
	for _, pid := range pids {
		s, err := readStat(pid)
		if pid != p.cmd.Process.Pid && hasEnded(err) { // a worker, after a reload
			continue
		}
		if err != nil {
			return u, err
		}
		own, err := cpuTime(pid)
		if pid != p.cmd.Process.Pid && hasEnded(err) {
			continue
		}
		if err != nil {
			return u, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		u.own, u.user, u.system = u.own+own, u.user+s.user, u.system+s.system
		u.memory += memory(pid)
	}
	for _, p := range l.origins {
		own, err := sum(p)
		if err != nil {
			return u, err
		}
		u.origin += own
	}
	u.busy, err = machineBusy()
	return u, err
}

func sum(p *process) (time.Duration, error) {
	pids, err := tree(p.cmd.Process.Pid)
	total := time.Duration(0)
	for _, pid := range pids {
		own, e := cpuTime(pid)
		total, err = total+own, errors.Join(err, e)
	}
	return total, err
}

// cpuTime is what a process has taken, in nanoseconds and with its threads that ended: its CPU clock, as clock_getcpuclockid(3) makes it.
func cpuTime(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts)
	return time.Duration(ts.Nano()), err
}

// hasEnded says whether an error is that of a process that there was a moment ago: as its files in /proc say it, or its clock.
func hasEnded(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL)
}

// tree gives a process and all below it.
func tree(root int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(path))
		s, err := readStat(pid)
		if hasEnded(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		children[s.parent] = append(children[s.parent], pid)
	}
	found := []int{root}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found, nil
}

// A stat is what is used of /proc/PID/stat.
type stat struct {
	parent       int
	user, system time.Duration
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat takes the line apart after the last parenthesis: the program's name before it may hold spaces and parentheses.
func parseStat(line string) (stat, error) {
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 13 {
		return stat{}, fmt.Errorf("not a /proc/PID/stat: %q", line)
	}
	parent, err1 := strconv.Atoi(fields[1])
	user, err2 := strconv.Atoi(fields[11])
	system, err3 := strconv.Atoi(fields[12])
	return stat{parent, time.Duration(user) * tick, time.Duration(system) * tick}, errors.Join(err1, err2, err3)
}

// memory is a process's share, or 0 if it cannot be read.
func memory(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n * kib
		}
	}
	return 0
}

func machineBusy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(text))
}

// parseBusy is the time that all CPUs were not idle, by the first line of /proc/stat.
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("not a /proc/stat: %q", line)
	}
	total := time.Duration(0)
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal; guests are within user
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("not a /proc/stat: %q", line)
		}
		if i != 3 && i != 4 {
			total += time.Duration(n) * tick
		}
	}
	return total, nil
}
