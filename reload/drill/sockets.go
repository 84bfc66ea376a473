package drill

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// connectionsOf gives the TCP connections over IPv4 that a process holds.
func connectionsOf(pid int) ([]ends, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	all, err := connections()
	if err != nil {
		return nil, err
	}
	var held []ends
	for _, fd := range fds {
		target, err := os.Readlink(dir + "/" + fd.Name())
		if err != nil {
			continue // closed since
		}
		var inode uint32
		if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err != nil {
			continue
		}
		if c, ok := all[inode]; ok {
			held = append(held, c)
		}
	}
	return held, nil
}

// What sock_diag(7) asks and answers.
const (
	diagByFamily = 20
	diagQuestion = 56                                       // struct inet_diag_req_v2
	diagAnswer   = 72                                       // struct inet_diag_msg
	statesInUse  = 1<<1 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11 // ESTABLISHED, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING
)

// connections gives the TCP connections over IPv4 of this network namespace that a process may hold, by their inodes. /proc/net/tcp would tell the
// same and be slow: it has those in TIME_WAIT too, which are tens of thousands.
func connections() (map[uint32]ends, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ask := make([]byte, unix.SizeofNlMsghdr+diagQuestion)
	binary.NativeEndian.PutUint32(ask[0:], uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], diagByFamily)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	ask[unix.SizeofNlMsghdr], ask[unix.SizeofNlMsghdr+1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(ask[unix.SizeofNlMsghdr+4:], statesInUse)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	all := map[uint32]ends{}
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return nil, os.NewSyscallError("read", err)
		}
		if more, err := takeDiag(buf[:n], all); err != nil || !more {
			return all, err
		}
	}
}

// takeDiag reads what the kernel has answered so far, and says whether more comes.
func takeDiag(buf []byte, all map[uint32]ends) (more bool, err error) {
	for len(buf) >= unix.SizeofNlMsghdr {
		size, kind := int(binary.NativeEndian.Uint32(buf)), binary.NativeEndian.Uint16(buf[4:])
		if size < unix.SizeofNlMsghdr || size > len(buf) {
			return false, fmt.Errorf("sock_diag: a message of %d bytes", size)
		}
		switch body := buf[unix.SizeofNlMsghdr:size]; {
		case kind == unix.NLMSG_DONE:
			return false, nil
		case kind == unix.NLMSG_ERROR:
			return false, fmt.Errorf("sock_diag: %x", body)
		case len(body) >= diagAnswer:
			all[binary.NativeEndian.Uint32(body[68:])] = endsOf(addrPort(body[8:12], body[4:6]), addrPort(body[24:28], body[6:8]))
		}
		buf = buf[min(len(buf), (size+3)&^3):]
	}
	return true, nil
}

func addrPort(addr, port []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr)), binary.BigEndian.Uint16(port))
}
