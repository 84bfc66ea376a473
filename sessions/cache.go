package sessions

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unique"

	"github.com/google/uuid"

	"edge/conf"
)

// maxCached bounds the cache: with about 400 bytes each, 100 MB.
const maxCached = 1 << 18

const (
	shards  = 64
	goneFor = 256 // ended sessions that a shard remembers
)

// cache keeps the sessions that were asked for, as they stand in the store, and some that are no more: an id is never used twice. What it
// holds is true as of the last hearing (ear).
type cache struct {
	shards [shards]shard
	most   int           // in a shard
	drops  atomic.Uint64 // what was read before one is not kept after it
}

type shard struct {
	mu      sync.RWMutex
	entries map[uuid.UUID]*entry
	gone    [goneFor]uuid.UUID
}

// entry is a session of a virtual host. What each request looks at stands together, and first: at 100,000 sessions every line of memory that is
// touched is one that must be fetched.
type entry struct {
	secret  [32]byte
	vhost   string
	person  *person
	who     atomic.Pointer[known]
	expires int64 // these are Unix milliseconds
	since   int64
	seen    atomic.Int64
	epoch   int64

	id, login uuid.UUID
	level     Level
	issuer    string // of the provider by whose word the login was made; "": of none

	look   sync.Mutex // who has it looks into the store, at one that seems idle
	looked int64      // when somebody did
}

// known is an Identity, made once of a user's state under a configuration.
type known struct {
	of *state
	at *conf.Login
	Identity
}

func newCache(most int) *cache {
	c := &cache{most: max(most/shards, 1)}
	for i := range c.shards {
		c.shards[i].entries = map[uuid.UUID]*entry{}
	}
	return c
}

// shard and slot take random bits of the id: not those that tell its version.
func (c *cache) shard(id *uuid.UUID) *shard { return &c.shards[id[0]%shards] }

func slot(id *uuid.UUID) uint16 { return binary.NativeEndian.Uint16(id[2:]) % goneFor }

// find gives what is known of a session: an entry, that it is gone, or neither.
func (c *cache) find(id *uuid.UUID) (e *entry, gone bool) {
	s := c.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e = s.entries[*id]; e != nil {
		return e, false
	}
	return nil, s.gone[slot(id)] == *id
}

// keep takes an entry that was read when drops was this. Another makes room where there is none.
func (c *cache) keep(e *entry, drops uint64) {
	s := c.shard(&e.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.drops.Load() != drops {
		return
	}
	if _, there := s.entries[e.id]; !there && len(s.entries) >= c.most {
		for id := range s.entries { // any: a map's order is random
			delete(s.entries, id)
			break
		}
	}
	s.entries[e.id] = e
}

// bury remembers that a session has ended, for a while.
func (c *cache) bury(id *uuid.UUID) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, *id)
	s.gone[slot(id)] = *id
}

// drop forgets sessions; with all, every one. It says whether there was anything to forget.
func (c *cache) drop(ids []string, all bool) bool {
	if len(ids) == 0 && !all {
		return false
	}
	c.drops.Add(1)
	for _, text := range ids {
		if id, err := uuid.FromBytes([]byte(text)); err == nil {
			c.bury(&id)
		}
	}
	for i := range c.shards {
		if s := &c.shards[i]; all {
			s.mu.Lock()
			clear(s.entries)
			s.mu.Unlock()
		}
	}
	return true
}

// newEntry is a row as the cache keeps it.
func newEntry(r *row, p *person) *entry {
	e := &entry{
		id: r.id, login: r.parent, level: r.level(), epoch: r.Epoch, since: r.Login, expires: r.expires, person: p,
		vhost: unique.Make(r.Vhost).Value(), issuer: unique.Make(r.issuer()).Value(), // the same text for every session of it
	}
	copy(e.secret[:], r.Secret)
	e.seen.Store(r.Seen)
	return e
}

// identity is who the session is of, in a state of its user, under a configuration.
func (e *entry) identity(of *state, at *conf.Login) *Identity {
	k := e.who.Load()
	if k == nil || k.of != of || k.at != at {
		k = &known{of, at, *of.identity(at, e.issuer, e.login, e.since, e.level)}
		e.who.Store(k)
	}
	return &k.Identity
}
