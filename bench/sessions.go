package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// guarded is edge with virtual hosts of which some need a login.
var guarded = server{name: edge.name, program: edge.program, config: "sessions.toml", args: edge.args}

// An audience is who asks in a turn: a virtual host, and the Cookie fields that it is asked with.
type audience struct {
	says, host, cookies string
	sessions            int
}

// fewTold are the sessions of an app that is told by tokens. Each token is signed anew every 30 s, which is the cost of another figure
// than the check's: with so few, next to none is in the one measured.
const fewTold = 1000

// measureSessions prints what the check of a session costs: the CPU time of a relayed request to a virtual host that needs a login against that
// to a public one, in turns, in one process; what memory sessions take; and how many people can log in.
func (l *lab) measureSessions(ctx context.Context, opts options) error {
	audiences, err := l.audiences(ctx, opts.sessions)
	if err != nil {
		return err
	}
	p, err := l.start(ctx, guarded, setup{})
	if err != nil {
		return err
	}
	defer p.stop()
	fmt.Printf("edge %s, %s\n\n", l.commit(ctx), machine())
	if err := l.touch(ctx, p, audiences, opts.sessions); err != nil {
		return err
	}
	if err := l.compare(ctx, p, audiences, opts); err != nil {
		return err
	}
	return l.logins(ctx, p, opts.duration*3)
}

// audiences prepares the state directory and the files of cookies.
func (l *lab) audiences(ctx context.Context, n int) ([]audience, error) {
	plain := filepath.Join(l.dir, "plain")
	if err := os.WriteFile(plain, []byte(strings.Repeat("theme=dark\n", n)), 0o600); err != nil {
		return nil, err
	}
	if err := l.goTest(ctx, "./sessions/users", "-fill", l.site.State); err != nil {
		return nil, err
	}
	all := []audience{
		{says: "public", host: "open.test", cookies: plain},
		{says: "public, with a session's cookie", host: "open.test", cookies: filepath.Join(l.dir, "guarded")},
		{says: "login", host: "guarded.test", cookies: filepath.Join(l.dir, "guarded"), sessions: n},
		{says: "login, with a token", host: "told.test", cookies: filepath.Join(l.dir, "told"), sessions: min(n, fewTold)},
	}
	for _, a := range all {
		if a.sessions == 0 {
			continue
		}
		if err := l.goTest(ctx, "./sessions", "-fill", l.site.State, "-fill-vhost", a.host, "-fill-number", fmt.Sprint(a.sessions), "-fill-cookies", a.cookies); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// goTest has a package of the tree fill a store: it alone can make a session.
func (l *lab) goTest(ctx context.Context, pkg string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"test", "-count=1", "-run", "^TestFill$", pkg}, args)...)
	cmd.Dir = l.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("filling the store: %w: %s", err, out)
	}
	return nil
}

// touch uses each session once, as its first use reads the store, and tells what memory they take.
func (l *lab) touch(ctx context.Context, p *process, audiences []audience, n int) error {
	if _, err := l.loadAs(ctx, p, audiences[0], time.Second); err != nil {
		return err
	}
	before, err := l.look(p)
	if err != nil {
		return err
	}
	began := time.Now()
	for _, a := range audiences {
		if err := l.useEach(ctx, p, a); err != nil {
			return err
		}
	}
	took := time.Since(began)
	after, err := l.look(p)
	if err != nil {
		return err
	}
	disk, err := os.Stat(filepath.Join(l.site.State, "sessions.db"))
	if err != nil {
		return err
	}
	fmt.Printf("memory: %d MiB before, %d MiB after %d sessions were used, in %v: %d bytes a session, with what is garbage then\n",
		before.memory/mib, after.memory/mib, n, took.Round(time.Second), (after.memory-before.memory)/int64(n))
	fmt.Printf("on disk: %d bytes a session, with the login above it\n\n", disk.Size()/int64(n))
	return nil
}

// useEach asks once with each session's cookie.
func (l *lab) useEach(ctx context.Context, p *process, a audience) error {
	if a.sessions == 0 {
		return nil
	}
	text, err := os.ReadFile(a.cookies)
	if err != nil {
		return err
	}
	c := l.visitor(p)
	defer c.CloseIdleConnections()
	cookies := make(chan string)
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for cookie := range cookies {
				if _, err := get(ctx, c, "https://"+a.host+"/1k", cookie, ""); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	for line := range bytes.Lines(text) {
		if failed.Load() == nil {
			cookies <- string(bytes.TrimSpace(line))
		}
	}
	close(cookies)
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// visitor is a client that finds every host at the process.
func (l *lab) visitor(p *process) *http.Client {
	addr := fmt.Sprintf("127.0.0.1:%d", p.site.TLS)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: l.roots}, MaxIdleConnsPerHost: 64, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}}
}

// get asks for a page and gives it; with a form it sends that.
func get(ctx context.Context, c *http.Client, page, cookie, form string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if form != "" {
		r, err = http.NewRequestWithContext(ctx, http.MethodPost, page, strings.NewReader(form))
	}
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/html")
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	res, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", res.Request.URL, res.Status)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, err
}

// loadAs loads the process as an audience does.
func (l *lab) loadAs(ctx context.Context, p *process, a audience, duration time.Duration) (load, error) {
	script := filepath.Join(l.dir, "sessions.lua")
	text, err := configs.ReadFile("sessions.lua")
	if err != nil {
		return load{}, err
	}
	if err := os.WriteFile(script, text, 0o600); err != nil {
		return load{}, err
	}
	out, cpu, err := l.generate(ctx, duration, "wrk", "-t1", "-c64", fmt.Sprintf("-d%.0fs", duration.Seconds()), "--latency", "--timeout", "5s",
		"-s", script, fmt.Sprintf("https://127.0.0.1:%d/1k", p.site.TLS), "--", a.host, a.cookies)
	if err != nil {
		return load{}, err
	}
	got, err := parseWrk(out, kib)
	got.duration, got.cpu = duration, cpu
	return got, err
}

// compare lets each audience have a turn in each round, in another order, and prints the CPU time of a request, and what it is of a public one's.
func (l *lab) compare(ctx context.Context, p *process, audiences []audience, opts options) error {
	costs := make([][]float64, len(audiences)) // µs, by rounds
	var noise []float64
	for round := range opts.rounds {
		for i := range audiences {
			at := (i + round) % len(audiences)
			before, err := l.look(p)
			if err != nil {
				return err
			}
			got, err := l.loadAs(ctx, p, audiences[at], opts.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", audiences[at].says, err)
			}
			after, err := l.look(p)
			if err != nil {
				return err
			}
			costs[at] = append(costs[at], (after.own-before.own).Seconds()*1e6/float64(got.requests))
			others := (after.busy - before.busy) - (after.own - before.own) - (after.origin - before.origin) - got.cpu
			noise = append(noise, others.Seconds()/after.at.Sub(before.at).Seconds())
		}
	}
	fmt.Println("| who asks | CPU of a request | ÷ public |\n|---|---|---|")
	for i, a := range audiences {
		ratios := make([]float64, opts.rounds)
		for round := range ratios {
			ratios[round] = costs[i][round] / costs[0][round]
		}
		fmt.Printf("| %s | %s µs | %s |\n", a.says, rangeOf(costs[i]), rangeOf(ratios))
	}
	fmt.Printf("\nCPUs kept busy by others on the machine, by turns: %s\n\n", rangeOf(noise))
	return nil
}

// rangeOf is the median and the range.
func rangeOf(values []float64) string {
	s, _ := spreadOf(values)
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.low, s.high)
}

// A person has a browser.
type person struct {
	*http.Client
	name  string
	login []*http.Cookie // of the last one
}

// logins prints how many people can log in, and how many who have can go on to a virtual host.
func (l *lab) logins(ctx context.Context, p *process, duration time.Duration) error {
	people := make([]*person, 8)
	for i := range people {
		people[i] = &person{Client: l.visitor(p), name: fmt.Sprintf("user%d", i)}
		defer people[i].CloseIdleConnections()
		if err := people[i].logIn(ctx); err != nil { // which hashes the password anew, at full cost
			return err
		}
	}
	full, err := l.each(ctx, p, duration, people, (*person).logIn)
	if err != nil {
		return err
	}
	silent, err := l.each(ctx, p, duration, people, (*person).goOn)
	if err != nil {
		return err
	}
	fmt.Printf("logins, of the first page to the app's: %s\nof who has logged in, at one more virtual host: %s\n", full, silent)
	return nil
}

// each has people do something again and again, and says how often it was done and what it cost.
func (l *lab) each(ctx context.Context, p *process, duration time.Duration, people []*person, do func(*person, context.Context) error) (string, error) {
	before, err := l.look(p)
	if err != nil {
		return "", err
	}
	var done atomic.Int64
	errs := make([]error, len(people))
	var all sync.WaitGroup
	for i, who := range people {
		all.Go(func() {
			for errs[i] == nil && time.Since(before.at) < duration {
				errs[i] = do(who, ctx)
				done.Add(1)
			}
		})
	}
	all.Wait()
	after, err := l.look(p)
	if err := errors.Join(append(errs, err)...); err != nil {
		return "", err
	}
	n := float64(done.Load())
	return fmt.Sprintf("%.0f a second, %.2f ms of CPU each", n/after.at.Sub(before.at).Seconds(), (after.own-before.own).Seconds()*1e3/n), nil
}

const guardedPage, loginPage = "https://guarded.test/1k", "https://login.test/login"

var (
	flowField = regexp.MustCompile(`name="f" value="([^"]*)"`)
	loginHost = &url.URL{Scheme: "https", Host: "login.test", Path: "/"}
)

// logIn opens the app's page as a stranger, is led to the login, and comes back.
func (who *person) logIn(ctx context.Context) (err error) {
	if who.Jar, err = cookiejar.New(nil); err != nil {
		return err
	}
	res, err := get(ctx, who.Client, guardedPage, "", "")
	if err != nil {
		return err
	}
	page, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	form := url.Values{"name": {who.name}, "password": {"correct horse"}}
	if m := flowField.FindSubmatch(page); m != nil {
		form.Set("f", string(m[1]))
	}
	res, err = get(ctx, who.Client, loginPage, "", form.Encode())
	if err == nil && res.Request.URL.Host != "guarded.test" {
		err = fmt.Errorf("a login led to %s", res.Request.URL)
	}
	who.login = who.Jar.Cookies(loginHost)
	return err
}

// goOn opens the app's page with no more than a login elsewhere.
func (who *person) goOn(ctx context.Context) (err error) {
	if who.Jar, err = cookiejar.New(nil); err != nil {
		return err
	}
	for _, c := range who.login {
		c.Path, c.Secure = "/", true
	}
	who.Jar.SetCookies(loginHost, who.login)
	res, err := get(ctx, who.Client, guardedPage, "", "")
	if err == nil && res.Request.URL.Host != "guarded.test" {
		err = fmt.Errorf("who has logged in was led to %s", res.Request.URL)
	}
	return err
}
