package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"edge/sessions/internal/sqlitefile"
)

const (
	// listenEvery is how long another process's revocation may go unheard. A hearing takes some 10 µs.
	listenEvery = 50 * time.Millisecond
	// trust is how long what is cached is believed without hearing whether it still holds: so long a store may hang, or be gone, before
	// nobody passes any more.
	trust = time.Second
	// patience is how long a request waits to hear, where nobody has for trust.
	patience = 250 * time.Millisecond
)

// ear hears what has ended and who has changed, and forgets what the cache knew of it.
type ear struct {
	cache *cache
	ends  *sqlitefile.Log
	turn  chan struct{} // one hears at a time; who does may also write these:
	crowd []*people

	running atomic.Bool  // listen is at it
	heard   atomic.Int64 // when the last hearing that succeeded began, since start
	owed    atomic.Int64 // nothing is believed until a hearing that began later, since start
	start   time.Time
	changes chan struct{}
}

func newEar(file *sqlitefile.File, c *cache) (*ear, error) {
	ends, err := file.Follow(endLog)
	if err != nil {
		return nil, err
	}
	e := &ear{cache: c, ends: ends, turn: make(chan struct{}, 1), start: time.Now(), changes: make(chan struct{}, 1)}
	file.OnCommit(e.catchUp)
	return e, nil
}

// listen hears what other processes do, until ctx is done.
func (e *ear) listen(ctx context.Context) {
	e.running.Store(true)
	defer e.running.Store(false)
	tick := time.NewTicker(listenEvery)
	defer tick.Stop()
	var down bool
	for {
		err := e.hear(ctx)
		if (err != nil) != down && ctx.Err() == nil {
			if down = !down; down {
				slog.Error("the session store cannot be read: nobody who needs a login passes", "error", err)
			} else {
				slog.Info("the session store can be read again")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// current makes sure that the cache knows all that had ended when it was called, give or take listenEvery. With an error nobody knows.
func (e *ear) current() error {
	if heard := e.heard.Load(); e.running.Load() && heard >= e.owed.Load() && time.Since(e.start)-time.Duration(heard) < trust {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return e.hear(ctx)
}

// catchUp is after a commit of this process. Should it fail, the next Lookup hears, or says that nobody knows: whatever a hearing that began
// before the commit, and hung, may find.
func (e *ear) catchUp() {
	after := int64(time.Since(e.start))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if e.hear(ctx) == nil {
		return
	}
	for owed := e.owed.Load(); owed < after && !e.owed.CompareAndSwap(owed, after); owed = e.owed.Load() {
	}
}

var errUnheard = errors.New("the session store has not been read for too long")

// hear reads both logs. A second caller waits for the first one, at most as long as ctx.
func (e *ear) hear(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return errUnheard
	}
	began := time.Since(e.start)
	ids, lost, err := e.ends.Next()
	if err != nil {
		return err
	}
	news := e.cache.drop(ids, lost)
	for _, p := range e.crowd {
		changed, err := p.hear()
		if err != nil {
			return err
		}
		news = news || changed
	}
	e.heard.Store(int64(began))
	if news {
		select {
		case e.changes <- struct{}{}:
		default: // somebody is about to look anyway
		}
	}
	return nil
}

// people gives what is known of these users, and follows them from now on if they can be.
func (e *ear) people(users Users) *people {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	for _, p := range e.crowd {
		if p.users == users {
			return p
		}
	}
	p := &people{users: users, known: map[string]*person{}}
	followed, ok := users.(Followed)
	if !ok {
		return p
	}
	next, err := followed.Follow(e.catchUp)
	if err != nil {
		slog.Error("the users cannot be followed, and are asked for at every request", "error", err)
		return p
	}
	p.next = next
	e.crowd = append(e.crowd, p)
	return p
}

// people is what is known of the users of a store. Without next nothing is kept of it.
type people struct {
	users Users
	next  func() (names []string, lost bool, err error)

	mu    sync.Mutex
	known map[string]*person
}

// person is a user, who may be gone.
type person struct {
	*people
	name string
	now  atomic.Pointer[state] // nil: must be asked for

	mu      sync.Mutex
	changes int // what was asked before a change is not kept after it
}

// state is what a user was found to be; every new finding is another one.
type state struct {
	User
	gone bool
}

// person is made at the first mention and kept: there are no more than accounts that ever had a session.
func (p *people) person(name string) *person {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.known[name]
	if who == nil {
		who = &person{people: p, name: name}
		p.known[name] = who
	}
	return who
}

// hear forgets who has changed.
func (p *people) hear() (changed bool, err error) {
	names, lost, err := p.next()
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if lost {
		for _, who := range p.known {
			who.forget()
		}
		return true, nil
	}
	for _, name := range names {
		if who := p.known[name]; who != nil {
			who.forget()
		}
	}
	return len(names) > 0, nil
}

func (p *person) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	p.now.Store(nil)
}

// state is the user's as of now.
func (p *person) state() (*state, error) {
	if s := p.now.Load(); s != nil {
		return s, nil
	}
	p.mu.Lock()
	before := p.changes
	p.mu.Unlock()
	u, err := p.users.Get(context.Background(), p.name)
	gone := errors.Is(err, ErrNoUser)
	if err != nil && !gone {
		return nil, fmt.Errorf("user of a session: %w", err)
	}
	s := &state{u, gone}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil && p.changes == before {
		p.now.Store(s)
	}
	return s, nil
}
