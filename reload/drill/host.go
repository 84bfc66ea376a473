package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// resources is what a process has.
type resources struct {
	Descriptors, Threads, Goroutines, KiB int
	Connections                           int // of TCP: descriptors among the others
	Blocking                              int // sockets without O_NONBLOCK
}

func (r resources) String() string {
	return fmt.Sprintf("%d descriptors, %d of them connections, %d goroutines, %d threads, %d MiB",
		r.Descriptors, r.Connections, r.Goroutines, r.Threads, r.KiB>>10)
}

// and is the lesser of each.
func (r resources) and(o resources) resources {
	return resources{
		Descriptors: min(r.Descriptors, o.Descriptors), Threads: min(r.Threads, o.Threads), Goroutines: min(r.Goroutines, o.Goroutines), KiB: min(r.KiB, o.KiB),
		Connections: min(r.Connections, o.Connections), Blocking: max(r.Blocking, o.Blocking),
	}
}

// resourcesOf looks at a process, from outside and by its metrics.
func resourcesOf(ctx context.Context, pid int, metrics string) (r resources, err error) {
	if r.Goroutines, err = goroutines(ctx, metrics); err != nil {
		return r, err
	}
	held, err := connectionsOf(pid)
	if err != nil {
		return r, err
	}
	r.Connections = len(held)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return r, err
	}
	r.Descriptors, r.Blocking = len(fds), blocking(pid, fds)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "Threads:":
			r.Threads, _ = strconv.Atoi(f[1])
		case f[0] == "VmRSS:":
			r.KiB, _ = strconv.Atoi(f[1])
		}
	}
	return r, nil
}

// blocking counts the sockets that block: one that does cannot be paused. os.File's Fd makes it so, in every process that has it.
func blocking(pid int, fds []os.DirEntry) (n int) {
	for _, fd := range fds {
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd.Name()))
		if err != nil {
			continue // closed since
		}
		for line := range strings.Lines(string(info)) {
			if text, ok := strings.CutPrefix(line, "flags:"); ok {
				if flags, err := strconv.ParseUint(strings.TrimSpace(text), 8, 64); err == nil && flags&unix.O_NONBLOCK == 0 {
					n++
				}
			}
		}
	}
	return n
}

// goroutines asks the metrics listener.
func goroutines(ctx context.Context, metrics string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true
	resp, err := new(http.Transport).RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // whoever closes what still comes is answered with a reset
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(all)) {
		if text, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			return strconv.Atoi(strings.TrimSpace(text))
		}
	}
	return 0, errors.New("the metrics listener does not tell of goroutines")
}

// halt stops a process, and waits until every thread of it has: the signal alone only asks them to, and one that is in the middle of an accept ends that first.
func halt(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return err
	}
	for {
		if running, err := threadsRunning(pid); err != nil || running == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not stop: %w", pid, ctx.Err())
		case <-time.After(time.Millisecond): // nobody tells of it who is not the parent
		}
	}
}

// threadsRunning counts the threads of a process that are not stopped.
func threadsRunning(pid int) (n int, err error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(dir + "/" + thread.Name() + "/stat")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return 0, err
		}
		if _, after, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " "); !ok || after[0] != 'T' { // proc_pid_stat(5): the name before it may hold anything
			n++
		}
	}
	return n, nil
}
