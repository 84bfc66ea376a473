// Package htpasswd knows the users of an htpasswd file and whether a password is theirs. Only bcrypt is taken: the other formats are made to be
// fast, so whoever gets the file has the passwords.
package htpasswd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"edge/conf"
)

const (
	maxFile = 1 << 20
	maxCost = 16 // seconds of a processor for each password
	// remembered is how long a password that was right is taken without bcrypt.
	remembered = 5 * time.Minute
	// patience is how long a password waits for its turn.
	patience = 10 * time.Second
)

// ErrBusy is that too many passwords are to be checked at once.
var ErrBusy = errors.New("too many passwords are being checked")

// turns bounds how many passwords are checked at once, over all files: the processors are everybody's.
var turns = make(chan struct{}, max(1, runtime.NumCPU()/2))

// File is the users of one file as it was read. It is safe for concurrent use.
type File struct {
	sum   [sha256.Size]byte // of its text
	key   []byte            // of what is remembered
	users map[string]*user
	dummy []byte // a hash whose check takes as long as a user's: for who is none
}

// user is one line.
type user struct {
	hash  []byte
	right atomic.Pointer[memory] // nil: nothing is remembered
}

// memory is a password that was right.
type memory struct {
	mac   []byte
	until time.Time
}

// Load reads a file. If old was read from the same text, it is what Load gives: what is remembered stays. The error is of type conf.Errors and
// names the lines, or says at, where the file is named, that it cannot be read.
func Load(at conf.File, old *File) (*File, error) {
	text, err := at.Read(maxFile)
	if err != nil {
		return nil, conf.Errors{at.Pos.Errorf("file: %v", err)}
	}
	sum := sha256.Sum256(text)
	if old != nil && old.sum == sum {
		return old, nil
	}
	f := &File{sum: sum, key: make([]byte, sha256.Size), users: map[string]*user{}}
	rand.Read(f.key)
	mistakes := f.parse(at.Path, string(text))
	if len(f.users) == 0 && mistakes == nil {
		mistakes = conf.Errors{conf.Pos{File: at.Path}.Errorf(`holds no user: make one with "htpasswd -B"`)}
	}
	if mistakes != nil {
		return nil, mistakes
	}
	return f, nil
}

// parse reads the lines. The dummy is the hash that takes longest.
func (f *File) parse(path, text string) (mistakes conf.Errors) {
	most, n := 0, 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, err := parseLine(line)
		if err == nil && f.users[name] != nil {
			err = fmt.Errorf("user %q is in the file already", name)
		}
		if err != nil {
			mistakes = append(mistakes, conf.Pos{File: path, Line: n, Column: 1}.Errorf("%v", err))
			continue
		}
		f.users[name] = &user{hash: hash}
		if cost, _ := bcrypt.Cost(hash); cost > most {
			most, f.dummy = cost, hash
		}
	}
	return mistakes
}

// parseLine never says what stands where a hash should: it may be a password.
func parseLine(line string) (name string, hash []byte, err error) {
	name, rest, ok := strings.Cut(line, ":")
	switch {
	case !ok || name == "":
		return "", nil, errors.New("is no user: a line is NAME:HASH")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, control):
		return "", nil, errors.New("the user's name must be UTF-8 without control characters")
	}
	return name, []byte(rest), checkHash(name, rest)
}

func control(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }

// bcrypt's alphabet.
const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func checkHash(name, hash string) error {
	const advice = `edge takes bcrypt only: make it with "htpasswd -B"`
	switch {
	case strings.HasPrefix(hash, "$apr1$"), strings.HasPrefix(hash, "$1$"):
		return fmt.Errorf("the password of %q is hashed with MD5; %s", name, advice)
	case strings.HasPrefix(hash, "{SHA}"), strings.HasPrefix(hash, "{SSHA}"):
		return fmt.Errorf("the password of %q is hashed with SHA-1; %s", name, advice)
	}
	version, rest, _ := strings.Cut(strings.TrimPrefix(hash, "$"), "$")
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case version != "2a" && version != "2b" && version != "2y", err != nil, len(hash) != 60, len(rest) != 56, strings.Trim(rest[3:], alphabet) != "":
		return fmt.Errorf("the password of %q is not hashed with bcrypt; %s", name, advice)
	case cost > maxCost:
		return fmt.Errorf("the password of %q takes too long to check: its cost is %d, at most %d", name, cost, maxCost)
	}
	return nil
}

// Verify says whether a password is a user's. It takes as long for a name that is no user's, if all hashes of the file have one cost. Its error is
// ErrBusy, or the context's: then nothing is known.
func (f *File) Verify(ctx context.Context, name, password string) (bool, error) {
	u := f.users[name]
	mac := f.mac(name, password)
	if u != nil && u.remembers(mac) {
		return true, nil
	}
	hash := f.dummy
	if u != nil {
		hash = u.hash
	}
	if err := turn(ctx); err != nil {
		return false, err
	}
	if u != nil && u.remembers(mac) { // since we wait: a page's many requests come together
		<-turns
		return true, nil
	}
	right := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	<-turns
	if u == nil || !right {
		return false, nil
	}
	u.right.Store(&memory{mac, time.Now().Add(remembered)})
	return true, nil
}

// turn waits until one more password may be checked.
func turn(ctx context.Context) error {
	select {
	case turns <- struct{}{}:
		return nil
	default:
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case turns <- struct{}{}:
		return nil
	case <-late.C:
		return ErrBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mac is what a password is remembered by: without the key, which is of this process only, nobody can search for the password behind it.
func (f *File) mac(name, password string) []byte {
	h := hmac.New(sha256.New, f.key)
	io.WriteString(h, name)
	h.Write([]byte{':'}) // which no name holds
	io.WriteString(h, password)
	return h.Sum(nil)
}

func (u *user) remembers(mac []byte) bool {
	m := u.right.Load()
	return m != nil && hmac.Equal(m.mac, mac) && time.Now().Before(m.until)
}
