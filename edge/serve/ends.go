package serve

import "maps"

// Cause is why a connection has ended.
type Cause string

// Why connections finish: nothing was lost on them.
const (
	ByClient Cause = "client"    // it said that it ends
	Told     Cause = "told"      // a change or a stop asked the client to end, or closed it idle
	Unready  Cause = "handshake" // nothing was served: no TLS, or no PROXY header, or not in time
	ByEdge   Cause = "edge"      // the protocol's end: the last answer, an idle timeout, a target that ended its tunnel, …
)

// Why connections are cut: something may have been on its way.
const (
	Stopped   Cause = "stop"       // [drain] stop is over
	HardLimit Cause = "hard limit" // [drain] hard is over
	Panic     Cause = "panic"      // a mistake of edge's
	Killed    Cause = "killed"     // the process died with it
	Reset     Cause = "reset"      // what was begun could not be ended as it should: a target died, a timeout, the client went away
)

// cuts are the causes of a cut.
var cuts = map[Cause]bool{Stopped: true, HardLimit: true, Panic: true, Killed: true, Reset: true}

// Account says what has become of the connections that a server was given. Opened = the sum of Finished + Open + the sum of Cut, at any time.
type Account struct {
	Opened   uint64           `json:"opened"`
	Open     int              `json:"open"`
	Finished map[Cause]uint64 `json:"finished"`
	Cut      map[Cause]uint64 `json:"cut"`
}

func newAccount() Account { return Account{Finished: map[Cause]uint64{}, Cut: map[Cause]uint64{}} }

// enter notes an end.
func (a *Account) enter(c Cause) {
	if cuts[c] {
		a.Cut[c]++
	} else {
		a.Finished[c]++
	}
}

// at gives the account with the connections that are open.
func (a *Account) at(open int) Account {
	return Account{Opened: a.Opened, Open: open, Finished: maps.Clone(a.Finished), Cut: maps.Clone(a.Cut)}
}

// Add adds another server's account.
func (a *Account) Add(b Account) {
	if a.Finished == nil {
		*a = newAccount()
	}
	a.Opened += b.Opened
	a.Open += b.Open
	for c, n := range b.Finished {
		a.Finished[c] += n
	}
	for c, n := range b.Cut {
		a.Cut[c] += n
	}
}

// Sum is what all causes make together.
func Sum(by map[Cause]uint64) (n uint64) {
	for _, c := range by {
		n += c
	}
	return n
}

// endBy notes why the connection is cut. The first cause counts.
func (c *Conn) endBy(why Cause) { c.cutBy.CompareAndSwap(nil, &why) }

// cause says why a connection has ended that has.
func (c *Conn) cause() Cause {
	cut := c.cutBy.Load()
	switch {
	case cut != nil:
		return *cut
	case c.reset.Load():
		return Reset
	case !c.begun.Load():
		return Unready
	case c.last():
		return Told
	case c.gone.Load():
		return ByClient
	}
	return ByEdge
}
