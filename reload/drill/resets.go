package drill

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ends are the two ends of a connection, the lower one first, so that both directions of a connection have the same.
type ends [2]netip.AddrPort

func endsOf(a, b netip.AddrPort) ends {
	if a.Compare(b) > 0 {
		return ends{b, a}
	}
	return ends{a, b}
}

// reset is a TCP RST that was sent.
type reset struct {
	at       time.Time
	from, to netip.AddrPort
	refusal  bool // it answers a SYN: nobody listens there
	ended    bool // both ends had ended the connection before
}

// tap sees every RST that is sent on loopback, in this network namespace, and how each connection began and ended before.
type tap struct {
	f     *os.File
	done  sync.WaitGroup
	ended [2]map[ends]uint8 // which ends have sent a FIN: of the latest connections, and of those before
	seen  []reset
}

// beginningsAndEnds is a filter of IPv4 packets, from their own header on: TCP with SYN, FIN or RST.
var beginningsAndEnds = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 9, Size: 1}, // the protocol
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipFalse: 4},
	bpf.LoadMemShift{Off: 0}, // X: how long the header is
	bpf.LoadIndirect{Off: 13, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: flagFIN | flagSYN | flagRST, SkipFalse: 1},
	bpf.RetConstant{Val: 128},
	bpf.RetConstant{Val: 0},
}

const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// tapLoopback starts to look. It needs CAP_NET_RAW, which `unshare -r` gives in a namespace of its own.
func tapLoopback() (*tap, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	ip := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // 0: nothing yet, that the filter has not seen
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = filter(fd, beginningsAndEnds)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(ip), Ifindex: lo.Index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	t := &tap{f: os.NewFile(uintptr(fd), "lo"), ended: [2]map[ends]uint8{{}, {}}}
	t.done.Go(t.run)
	return t, nil
}

// filter has a socket take only what the program lets through.
func filter(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

func (t *tap) run() {
	buf := make([]byte, 256)
	for {
		n, err := t.f.Read(buf)
		if err != nil {
			return
		}
		t.parse(buf[:n])
	}
}

// remembered is how many connections tap knows the end of, at least.
const remembered = 20000

func (t *tap) take(s segment, now time.Time) {
	c := endsOf(s.from, s.to)
	switch {
	case s.flags&flagRST != 0:
		t.seen = append(t.seen, reset{at: now, from: s.from, to: s.to, ended: t.endedBy(c) == 3,
			refusal: s.flags&flagACK != 0 && s.seq == 0}) // RFC 9293 section 3.10.7.1: it has no sequence number of its own
	case s.flags&flagSYN != 0: // another connection, maybe by the same ports
		delete(t.ended[0], c)
		delete(t.ended[1], c)
	default:
		end := uint8(1)
		if s.from == c[1] {
			end = 2
		}
		t.ended[0][c] = t.endedBy(c) | end
		if len(t.ended[0]) > remembered {
			t.ended = [2]map[ends]uint8{{}, t.ended[0]}
		}
	}
}

func (t *tap) endedBy(c ends) uint8 { return t.ended[0][c] | t.ended[1][c] }

// segment is a packet that beginningsAndEnds has let through.
type segment struct {
	from, to netip.AddrPort
	flags    uint8
	seq      uint32
}

// parseSegment reads an IPv4 packet.
func parseSegment(packet []byte) (s segment, ok bool) {
	if len(packet) < 20 {
		return s, false
	}
	tcp := packet[min(len(packet), int(packet[0]&0xf)*4):]
	if len(tcp) < 20 {
		return s, false
	}
	return segment{addrPort(packet[12:16], tcp[0:2]), addrPort(packet[16:20], tcp[2:4]), tcp[13], binary.BigEndian.Uint32(tcp[4:])}, true
}

// stop ends it and gives what it saw, with all that has come until now.
func (t *tap) stop() ([]reset, error) {
	defer t.f.Close()
	if err := t.f.SetReadDeadline(time.Unix(1, 0)); err != nil { // ends run
		return nil, err
	}
	t.done.Wait()
	raw, err := t.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = raw.Control(func(fd uintptr) {
		buf := make([]byte, 256)
		for {
			n, err := unix.Read(int(fd), buf)
			if err != nil {
				return // nothing is left
			}
			t.parse(buf[:n])
		}
	})
	return t.seen, err
}

func (t *tap) parse(packet []byte) {
	if s, ok := parseSegment(packet); ok {
		t.take(s, time.Now())
	}
}
