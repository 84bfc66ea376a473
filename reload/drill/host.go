package drill

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// resources is what a process has.
type resources struct {
	Descriptors, Threads, Goroutines, KiB int
	Blocking                              int // sockets without O_NONBLOCK
}

func (r resources) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %d threads, %d MiB", r.Descriptors, r.Goroutines, r.Threads, r.KiB>>10)
}

// resourcesOf looks at a process, from outside and by its metrics.
func resourcesOf(ctx context.Context, pid int, metrics string) (r resources, err error) {
	if r.Goroutines, err = goroutines(ctx, metrics); err != nil {
		return r, err
	}
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
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(text)
		}
	}
	return 0, fmt.Errorf("the metrics listener does not tell of goroutines: %w", io.ErrUnexpectedEOF)
}

// counters are the kernel's, of this network namespace.
type counters map[string]int

// watched are those that a loss would show in, or explain.
var watched = []string{"TcpExt.TCPAbortOnData", "TcpExt.TCPAbortOnClose", "TcpExt.ListenOverflows", "TcpExt.ListenDrops", "Tcp.OutRsts"}

// readCounters reads the kernel's counters.
func readCounters() (counters, error) {
	c := counters{}
	for _, file := range []string{"/proc/net/netstat", "/proc/net/snmp"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		lines := bytes.Split(text, []byte("\n"))
		for i := 0; i+1 < len(lines); i += 2 { // a line of names, and one of values
			names, values := strings.Fields(string(lines[i])), strings.Fields(string(lines[i+1]))
			for j := 1; j < len(names) && j < len(values); j++ {
				c[strings.TrimSuffix(names[0], ":")+"."+names[j]], _ = strconv.Atoi(values[j])
			}
		}
	}
	return c, nil
}

// since gives what the watched ones have grown by.
func (c counters) since(before counters) string {
	var b strings.Builder
	for i, name := range watched {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s +%d", name, c[name]-before[name])
	}
	return b.String()
}
