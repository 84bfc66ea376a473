package sessions

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"edge/conf"
	"edge/username"
)

// mayRegister says why the one who asks may not make an account: nil, ErrNoInvite, errWait, errNoRegistration, or that nobody knows. A code
// that is none counts as a guess of one.
func (p *loginPages) mayRegister(r *http.Request, code string) (setup bool, err error) {
	switch {
	case code == "" && p.registers():
		return false, nil
	case code == "":
		return false, errNoRegistration
	}
	if err := p.mayTry(r, inviteTries, ""); err != nil {
		return false, err
	}
	i, err := p.users.Invited(r.Context(), code)
	if err == nil && !i.Setup && p.conf.Registration == conf.Closed {
		err = ErrNoInvite
	}
	if !errors.Is(err, ErrNoInvite) {
		p.db.guesses.Void(context.WithoutCancel(r.Context()), inviteTries, "", r.RemoteAddr)
	}
	return i.Setup, err
}

// errNoRegistration is that there is no such page.
var errNoRegistration = errors.New("nobody may register")

func (p *loginPages) registerForm(w http.ResponseWriter, r *http.Request) {
	if _, err := p.mayRegister(r, r.URL.Query().Get("invite")); err != nil {
		p.uninvited(w, r, err)
		return
	}
	p.form(w, r, "register")
}

func (p *loginPages) register(w http.ResponseWriter, r *http.Request) {
	code := r.PostForm.Get("invite")
	setup, err := p.mayRegister(r, code)
	if err != nil {
		p.uninvited(w, r, err)
		return
	}
	event := eventRegister
	switch {
	case setup:
		event = eventSetup
	case code != "":
		event = eventInvited
	}
	p.enter(w, r, event, "register", func(name, password string) (User, error) {
		if !setup {
			if err := p.mayBe(name); err != nil {
				return User{}, err
			}
		}
		if code != "" {
			return p.users.Redeem(r.Context(), code, name, password)
		}
		if err := p.mayTry(r, registerTries, ""); err != nil {
			return User{}, err
		}
		return p.users.Create(r.Context(), name, password)
	})
}

// mayBe says whether somebody may take a name for oneself: not one by which the configuration lets somebody in, nor an e-mail address, which apps take for
// the one of who has the name. Only who may make accounts for others gives those: of somebody who makes one for oneself nobody knows that it is who is
// meant. ErrTaken, errAddress; nil of what is no name.
func (p *loginPages) mayBe(name string) error {
	name, err := username.Canonical(name)
	switch {
	case err != nil:
		return nil // whoever makes the account says so
	case p.hosts.Listed(name):
		return ErrTaken
	case strings.Contains(name, "@"):
		return errAddress
	}
	return nil
}

// errAddress is that a name is somebody's e-mail address, and nobody knows whose.
var errAddress = errors.New("a name with @ is given by an administrator only, please choose another one")

// uninvited answers who may not register.
func (p *loginPages) uninvited(w http.ResponseWriter, r *http.Request, err error) {
	v := p.view()
	if errors.Is(err, errNoRegistration) {
		p.show(w, r, http.StatusNotFound, "missing", v)
		return
	}
	status, text, ok := refusal(w, r, err)
	if !ok {
		p.failed(w, r, err)
		return
	}
	p.noteRefused(r, eventInvited, "", err)
	page := "wait"
	if errors.Is(err, ErrNoInvite) {
		status, page = http.StatusNotFound, "uninvited"
	}
	v.Error = text
	p.show(w, r, status, page, v)
}
