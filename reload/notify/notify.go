// Package notify tells the service manager how this process does: systemd, or whoever speaks sd_notify(3). It is datagrams of lines NAME=value on a
// unix socket that the environment names.
package notify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The environment variables of the protocol.
const (
	SocketVariable      = "NOTIFY_SOCKET"
	watchdogVariable    = "WATCHDOG_USEC"
	watchdogPIDVariable = "WATCHDOG_PID" // unset: whoever it is that runs
)

// What can be told, beside MainPID, Status and Monotonic.
const (
	Ready     = "READY=1"
	Reloading = "RELOADING=1" // together with Monotonic; Ready ends it
	Stopping  = "STOPPING=1"
	Alive     = "WATCHDOG=1"
)

// MainPID says which process is the service. systemd believes it of the one that was (NotifyAccess=main).
func MainPID(pid int) string { return "MAINPID=" + strconv.Itoa(pid) }

// maxStatus bounds what a status line is told of.
const maxStatus = 512

// Status says in words how the service does, in one line.
func Status(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return "STATUS=" + strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")
}

// Monotonic is the time, by which systemd tells the READY=1 of a reload from one of before.
func Monotonic() string {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // does not fail
	return fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)
}

// Manager is where the service manager listens. The nil Manager is none. It is safe for concurrent use.
type Manager struct{ addr *net.UnixAddr }

// Find gives the manager that the environment names; nil if it names none.
func Find() (*Manager, error) {
	name := os.Getenv(SocketVariable)
	switch {
	case name == "":
		return nil, nil
	case name[0] != '/' && name[0] != '@': // '@': an abstract name
		return nil, fmt.Errorf("%s is %q: neither a path nor an abstract name", SocketVariable, name)
	}
	return &Manager{&net.UnixAddr{Name: name, Net: "unixgram"}}, nil
}

// sendTime bounds a Tell: a manager that does not read must not stop the service.
const sendTime = time.Second

// Tell tells the manager all lines at once.
func (m *Manager) Tell(lines ...string) error {
	if m == nil {
		return nil
	}
	return m.send(nil, lines...)
}

// send sends lines, and descriptors with them.
func (m *Manager) send(descriptors []byte, lines ...string) error {
	c, err := net.DialUnix("unixgram", nil, m.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(sendTime))
	raw, err := c.SyscallConn() // net sends no descriptors over a datagram socket that is connected
	if err != nil {
		return err
	}
	text := []byte(strings.Join(lines, "\n"))
	writeErr := raw.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), text, descriptors, nil, unix.MSG_NOSIGNAL)
		return err != unix.EAGAIN
	})
	if writeErr != nil {
		return writeErr
	}
	return os.NewSyscallError("sendmsg", err)
}

// storeVariable is by which systemd says how many descriptors it keeps for the service (FileDescriptorStoreMax).
const storeVariable = "FDSTORE"

// Keeps says whether the manager keeps descriptors for the service.
func Keeps() bool {
	n, err := strconv.Atoi(os.Getenv(storeVariable))
	return err == nil && n > 0
}

// Store gives the manager a copy of a descriptor, to be passed by that name to the process that it starts next. One that it has already it does not take twice.
func (m *Manager) Store(name string, f *os.File) error {
	if m == nil {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if controlErr := raw.Control(func(fd uintptr) { err = m.send(unix.UnixRights(int(fd)), "FDSTORE=1", "FDNAME="+name) }); controlErr != nil {
		return controlErr
	}
	return err
}

// Forget has the manager close what it keeps by a name.
func Forget(name string) []string { return []string{"FDSTOREREMOVE=1", "FDNAME=" + name} }

// Watchdog is how long the manager bears not to hear Alive from this process; 0: it does not listen for it.
func Watchdog() time.Duration {
	if pid := os.Getenv(watchdogPIDVariable); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv(watchdogVariable), 10, 64)
	if err != nil || usec <= 0 || usec > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}
