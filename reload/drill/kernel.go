package drill

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// counters are the kernel's, of this network namespace.
type counters map[string]int

// watched are those that a loss would show in, or explain.
var watched = []string{abortOnData, abortOnClose, overflows, drops, outRsts}

const (
	abortOnData  = "TcpExt.TCPAbortOnData"  // data came for a connection that its process had closed
	abortOnClose = "TcpExt.TCPAbortOnClose" // a process closed a connection with data in it that it had not read
	overflows    = "TcpExt.ListenOverflows"
	drops        = "TcpExt.ListenDrops"
	outRsts      = "Tcp.OutRsts"
)

// readCounters reads the kernel's counters.
func readCounters() (counters, error) {
	c := counters{}
	for _, file := range []string{"/proc/net/netstat", "/proc/net/snmp"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(lines); i += 2 { // a line of names, and one of values
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			for j := 1; j < len(names) && j < len(values); j++ {
				c[strings.TrimSuffix(names[0], ":")+"."+names[j]], _ = strconv.Atoi(values[j])
			}
		}
	}
	return c, nil
}

// kernel is what the kernel did while the drill ran, and what the drill knows of why.
type kernel struct {
	alone   bool     // whether nobody else uses this network namespace: only then the counters are the drill's
	tapErr  error    // why the resets were not seen one by one
	before  counters // of the drill
	tap     *tap
	grown   counters                     // of the watched, by how much
	held    map[ends]time.Time           // the connections of processes that the drill killed, and when
	removed map[netip.AddrPort]time.Time // where a listener was, and since when reloads have removed it
	killed  int                          // resets of held
	away    int                          // resets of removed, to connects
	waited  int                          // others of removed: what waited in its queue when it closed
	again   int                          // resets of connections that both ends had ended: by a FIN that was sent again
	other   []reset                      // all others
}

// watchKernel starts to look. It is called before the drill has any socket.
func watchKernel(alone bool) (k kernel, err error) {
	k.alone = alone
	k.held, k.removed = map[ends]time.Time{}, map[netip.AddrPort]time.Time{}
	if k.before, err = readCounters(); err != nil {
		return k, err
	}
	if k.alone {
		k.tap, k.tapErr = tapLoopback()
	}
	return k, nil
}

// end stops looking and accounts for each reset.
func (k *kernel) end() error {
	after, err := readCounters()
	if err != nil {
		return err
	}
	k.grown = counters{}
	for _, name := range watched {
		k.grown[name] = after[name] - k.before[name]
	}
	if k.tap == nil {
		return nil
	}
	seen, err := k.tap.stop()
	k.account(seen)
	return err
}

// account puts each reset down to what the drill did, if it can.
func (k *kernel) account(seen []reset) {
	for _, r := range seen {
		switch {
		case k.orphaned(r):
			k.killed++
		case k.goneBy(r) && r.refusal:
			k.away++
		case k.goneBy(r):
			k.waited++
		case r.ended:
			k.again++
		default:
			k.other = append(k.other, r)
		}
	}
}

// memory is how long after a process was killed a reset is put down to that. The same two ports may be another connection's later on.
const memory = 10 * time.Second

// orphaned says whether a reset was of a connection of a process that the drill had just killed.
func (k *kernel) orphaned(r reset) bool {
	at, ok := k.held[endsOf(r.from, r.to)]
	return ok && !r.at.Before(at) && r.at.Before(at.Add(memory))
}

// goneBy says whether a reset came from where a listener had been removed, and, unless it is to a connect, had been just then.
func (k *kernel) goneBy(r reset) bool {
	since, ok := k.removed[r.from]
	return ok && !r.at.Before(since) && (r.refusal || r.at.Before(since.Add(aftermath*2)))
}

// problems are what the kernel did that it should not: resets that the drill has no reason for, and connections that it dropped. cut is how
// many open connections clients lost as their listener was removed: what had been accepted must be served to its end, what waited in the queue may be reset.
func (k *kernel) problems(cut int64) (all []string) {
	if !k.alone {
		return nil
	}
	for _, name := range []string{overflows, drops} {
		if n := k.grown[name]; n != 0 {
			all = append(all, fmt.Sprintf("%s has grown by %d", name, n))
		}
	}
	if k.tap == nil {
		return all
	}
	if cut > int64(k.waited) {
		all = append(all, fmt.Sprintf("open connections that the removed listener has cut: %d; it had left %d in its queue", cut, k.waited))
	}
	for _, r := range k.other {
		all = append(all, fmt.Sprintf("a reset that nothing explains: %v", r))
	}
	if seen := k.killed + k.away + k.waited + k.again + len(k.other); seen != k.grown[outRsts] {
		all = append(all, fmt.Sprintf("the kernel has sent %d resets, and %d were seen", k.grown[outRsts], seen))
	}
	if n := k.grown[abortOnData] + k.grown[abortOnClose]; n > k.killed {
		all = append(all, fmt.Sprintf("%d connections were closed with data left, and %d of these were of a process that the drill killed", n, k.killed))
	}
	return all
}

// print says what was counted; refused is how many connects clients saw refused.
func (k *kernel) print(w io.Writer, refused int64) {
	where := "that others use too, so it is not judged"
	if k.alone {
		where = "of the drill's own"
	}
	fmt.Fprintf(w, "The kernel, in a network namespace %s:", where)
	for i, name := range watched {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		_, name, _ := strings.Cut(name, ".")
		fmt.Fprintf(w, " %s +%d", name, k.grown["TcpExt."+name]+k.grown["Tcp."+name])
	}
	fmt.Fprintln(w)
	if k.tapErr != nil {
		fmt.Fprintln(w, "The resets were not seen one by one:", k.tapErr)
	}
	if k.tap != nil {
		fmt.Fprintf(w, "Resets on the %d connections of processes that the drill killed: %d\n", len(k.held), k.killed)
		fmt.Fprintf(w, "Resets by the listener that the drill removed: %d to connects, of which clients saw %d refused; %d to what waited in its queue\n",
			k.away, refused, k.waited)
		fmt.Fprintf(w, "Resets on connections that both ends had ended, to a FIN that the kernel sent again: %d\n", k.again)
		fmt.Fprintf(w, "Resets that nothing explains: %d\n", len(k.other))
	}
}

func (r reset) String() string {
	what := ""
	if r.refusal {
		what = ", to a connect"
	}
	return fmt.Sprintf("%s from %v to %v%s", r.at.Format(time.TimeOnly), r.from, r.to, what)
}
