package sessions

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// What the audit log tells of.
const (
	eventLogin    = "login"
	eventLogout   = "logout"
	eventRegister = "register"
	eventInvited  = "invite used"
	eventSetup    = "setup used"
	eventPassword = "password changed"
	eventGuess    = "guess limit"
	eventTOTP     = "totp"
	eventRecovery = "recovery code"
	eventPasskey  = "passkey"
	eventFarewell = "logout elsewhere"

	EventUserAdded     = "user added"
	EventUserRemoved   = "user removed"
	EventUserDisabled  = "user disabled"
	EventUserEnabled   = "user enabled"
	EventUserGroups    = "groups changed"
	EventUserEmail     = "email changed"
	EventPassword      = eventPassword
	EventFactorsReset  = "second factors reset"
	EventInviteMade    = "invite made"
	EventInviteRevoked = "invite revoked"
	EventSetupMade     = "setup made"
	EventLinked        = "provider linked"
	EventUnlinked      = "provider unlinked"
	EventRevoked       = "session revoked"
)

// The results of an Entry.
const (
	Done    = "ok"
	Refused = "refused"
)

// Entry is a line of the audit log. Nothing in it is a secret, and no text that somebody typed who is not known.
type Entry struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	User    string    `json:"user,omitempty"`    // the account that it is about
	By      string    `json:"by,omitempty"`      // who did it, if it was not the user: "command line"
	Client  string    `json:"client,omitempty"`  // address
	Session string    `json:"session,omitempty"` // the login's public id
	Vhost   string    `json:"vhost,omitempty"`   // where a login leads
	Result  string    `json:"result"`            // Done, or Refused
	Detail  string    `json:"detail,omitempty"`
}

// CommandLine is who did what a command did.
const CommandLine = "command line"

// Audit appends lines of JSON to a file that other processes append to as well: each line is one write. nil is one that keeps nothing. It
// is safe for concurrent use.
type Audit struct {
	path string
	mu   sync.RWMutex
	file *os.File
}

// OpenAudit opens the file, made if missing, 0600.
func OpenAudit(path string) (*Audit, error) {
	a := &Audit{path: path}
	return a, a.Reopen()
}

// Reopen opens the file anew by its name, for a log that was rotated. On an error the log goes on where it was.
func (a *Audit) Reopen() error {
	f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, f.Close(), errors.New(a.path+" is no regular file"))
	}
	a.mu.Lock()
	old := a.file
	a.file = f
	a.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Close closes the file. What is written later is lost, and said to be.
func (a *Audit) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}

// Write appends a line. Time and Result may be left out: now, Done. What cannot be written is told in edge's own log: who logs in does not wait
// for a full disk to be mended.
func (a *Audit) Write(e Entry) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.Result == "" {
		e.Result = Done
	}
	e.Time = e.Time.UTC()
	if a == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		a.mu.RLock()
		_, err = a.file.Write(append(line, '\n'))
		a.mu.RUnlock()
	}
	if err != nil {
		slog.Error("the audit log is not written", "error", err, "event", e.Event, "user", e.User)
	}
}

// note writes down what a request did, in the audit log and in edge's own.
func (s *Service) note(r *http.Request, e Entry) {
	e.Time, e.Client = s.db.now(), r.RemoteAddr
	s.Audit.Write(e)
	args := []any{"client", e.Client}
	for _, a := range []struct{ key, value string }{{"user", e.User}, {"session", e.Session}, {"reason", e.Detail}} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	if e.Result == Refused {
		e.Event += " refused"
	}
	slog.Info(e.Event, args...)
}

// noteRefused is note for what somebody tried in vain, and why. The name is told if it is an account's; else it may be a password. An error
// that is no refusal is not for this log.
func (s *Service) noteRefused(r *http.Request, event, name string, err error) {
	_, reason := reasonOf(err)
	if reason == nil {
		return
	}
	e := Entry{Event: event, Result: Refused, Detail: reason.Error()}
	if errors.Is(reason, errWait) {
		e.Event = eventGuess
	}
	if account := counted(name); account[0] != 0 {
		if u, err := s.users.Get(r.Context(), account); err == nil {
			e.User = u.Name
		}
	}
	s.note(r, e)
}

// noteAccount notes what somebody did to the own account.
func (s *Service) noteAccount(r *http.Request, l *live, event string) {
	s.note(r, Entry{Event: event, User: l.User, Session: l.id.String()})
}

// loggedOutBy notes a logout; nil: there was nothing to end.
func (s *Service) loggedOutBy(r *http.Request, ended *row) {
	if ended != nil {
		s.note(r, Entry{Event: eventLogout, User: ended.User, Session: ended.parent.String(), Vhost: ended.Vhost})
	}
}
