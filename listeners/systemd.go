package listeners

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The variables by which systemd, or whoever stands in for it, says which sockets it passes: sd_listen_fds(3).
const (
	listenPID   = "LISTEN_PID"
	listenFDs   = "LISTEN_FDS"
	listenNames = "LISTEN_FDNAMES"
)

const (
	firstPassed = 3
	mostPassed  = 1 << 10 // more is a mistake of whoever has set the variable
)

// Passed adopts those of the sockets which this process was started with that a spec wants: bound to the same, as the kernel says. The others are
// closed, with a word about each. No program that this one starts hears of any: the variables are gone then.
func Passed(specs []Spec) (t *Table, refused []error) {
	pid, count, names := os.Getenv(listenPID), os.Getenv(listenFDs), os.Getenv(listenNames)
	for _, name := range []string{listenPID, listenFDs, listenNames} {
		os.Unsetenv(name)
	}
	t = &Table{}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return t, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > mostPassed {
		return t, []error{fmt.Errorf("%s is %q, which is no number of sockets: none is taken", listenFDs, count)}
	}
	for fd := firstPassed; fd < firstPassed+n; fd++ {
		unix.CloseOnExec(fd)
	}
	labels := strings.Split(names, ":")
	for i := range n {
		label := "unnamed"
		if i < len(labels) && labels[i] != "" {
			label = labels[i]
		}
		if err := t.claim(firstPassed+i, label, specs); err != nil {
			refused = append(refused, fmt.Errorf("descriptor %d, passed as %q, is not used: %w", firstPassed+i, label, err))
		}
	}
	return t, refused
}

// claim takes a passed socket into the table, or closes it.
func (t *Table) claim(fd int, label string, specs []Spec) error {
	ln, err := listening(fd, label)
	if errors.Is(err, unix.ENOTSOCK) { // where the number is wrong, it may be a descriptor of our own
		return err
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	i := slices.IndexFunc(specs, func(spec Spec) bool { return t.find(spec.key()) == nil && bound(ln, spec) })
	if i < 0 {
		ln.Close()
		return fmt.Errorf("no [[listener]] has the address %s %s", ln.Addr().Network(), ln.Addr())
	}
	s := newSocket(specs[i], ln)
	s.file = nil // whoever has made it removes it
	t.sockets = append(t.sockets, s)
	return nil
}

// bound says whether a socket is bound to what a spec wants.
func bound(ln net.Listener, spec Spec) bool {
	a := ln.Addr()
	if tcp, ok := a.(*net.TCPAddr); ok && spec.Network == "tcp" {
		return sameTCP(ln.(*net.TCPListener), tcp.AddrPort(), spec.Address)
	}
	return a.Network() == spec.Network && a.String() == spec.Address
}

// sameTCP compares an address with a configured one, in which "::" and no host at all mean every address, those of IPv4 too.
func sameTCP(ln *net.TCPListener, a netip.AddrPort, configured string) bool {
	if strings.HasPrefix(configured, ":") {
		configured = "[::]" + configured
	}
	want, err := netip.ParseAddrPort(configured)
	if err != nil || want != netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) {
		return false
	}
	return want.Addr() != netip.IPv6Unspecified() || !onlySix(ln)
}

// onlySix says whether a socket for every IPv6 address leaves the IPv4 ones out.
func onlySix(ln *net.TCPListener) (only bool) {
	rc, err := ln.SyscallConn()
	if err != nil {
		return true
	}
	rc.Control(func(fd uintptr) {
		v, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		only = err != nil || v != 0
	})
	return only
}
