package listeners

// Limit bounds how many connections are served at once, over all the sockets that share it. The first above it on each socket has been
// accepted and waits; the others wait in the kernel.
type Limit struct{ slots chan struct{} }

// NewLimit gives a limit of n connections; nil, which never limits, for 0.
func NewLimit(n int) *Limit {
	if n <= 0 {
		return nil
	}
	return &Limit{make(chan struct{}, n)}
}

// acquire waits for a place, or until stop closes, and gives what frees it; nil if the limit was changed meanwhile.
func (l *Limit) acquire(stop, changed <-chan struct{}) (release func()) {
	if l == nil {
		return func() {}
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }
	case <-stop:
		return func() {}
	case <-changed:
		return nil
	}
}
