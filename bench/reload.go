package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

func (work) untilSeen(c *cell) float64  { return c.seen.Seconds() }
func (work) peakMemory(c *cell) float64 { return float64(c.memory) / mib }

const (
	lookAgain  = 5 * time.Millisecond // between two looks for the change
	afterwards = time.Second          // how long memory is watched once the change has been seen
	beforehand = time.Second          // how long a server that has started is left alone: HAProxy's master ignores signals at first, and says nothing when it no longer does
)

// reloadTurn changes one line of a configuration of many virtual hosts and has the server read it.
func (l *lab) reloadTurn(ctx context.Context, w work, s server, _ time.Duration) (*cell, error) {
	p, err := l.start(ctx, s, w.setup())
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := l.probeVhost(ctx, p, w.vhosts/2); err != nil {
		return nil, err
	}
	if err := pause(ctx, beforehand); err != nil {
		return nil, err
	}
	before, err := l.look(p)
	if err != nil {
		return nil, err
	}
	watch := watchMemory(p)
	got, err := l.reload(ctx, p)
	if err == nil {
		err = pause(ctx, afterwards)
	}
	peak := watch.end()
	if err != nil {
		return nil, err
	}
	after, err := l.look(p)
	if err != nil {
		return nil, err
	}
	if err := l.probeVhost(ctx, p, w.vhosts/2); err != nil {
		return nil, err
	}
	after.own = max(after.own, before.own+tick) // workers that ended took their CPU time along, and it is not used
	c, err := newCell(got, before, after)
	if err != nil {
		return nil, err
	}
	c.seen, c.memory = got.duration, max(peak, before.memory)
	return c, nil
}

// reloads reloads as often as there is time, once at least.
func (l *lab) reloads(ctx context.Context, _ work, p *process, duration time.Duration) (load, error) {
	all := load{}
	for end := time.Now().Add(duration); all.requests == 0 || time.Now().Before(end); {
		got, err := l.reload(ctx, p)
		if err != nil {
			return all, err
		}
		all.requests, all.duration, all.cpu = all.requests+1, all.duration+got.duration, all.cpu+got.cpu
	}
	return all, nil
}

// reload changes the word that the last virtual host answers with, has the server read that, and returns once a new connection gets the word.
// The time runs from the signal, or from the start of the command.
func (l *lab) reload(ctx context.Context, p *process) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	old, host := p.site.Word, p.site.Last()
	if word, err := l.word(ctx, p, host); err != nil || word != old {
		return load{}, fmt.Errorf("%s answers %q before the change, want %q (%w)", host, word, old, err)
	}
	p.site.Word = old + "+"
	if err := p.configure(); err != nil {
		return load{}, err
	}
	cpu, began := ownCPU(), time.Now()
	ordered, err := l.order(ctx, p)
	if err != nil {
		return load{}, err
	}
	for {
		word, err := l.word(ctx, p, host)
		if cutOff(err) {
			fmt.Fprintf(os.Stderr, "%s cuts a new connection off while it reloads: %v\n", p.server.name, err)
			word, err = old, nil // who was cut off has not seen the change
		}
		if err != nil || word != old && word != p.site.Word {
			return load{}, fmt.Errorf("%s answers %q (%w)", host, word, err)
		}
		if word == p.site.Word {
			break
		}
		if err := pause(ctx, lookAgain); err != nil {
			return load{}, fmt.Errorf("the change is not seen: %w; %s", err, p.lastWords())
		}
	}
	took := time.Since(began)
	return load{requests: 1, duration: took, cpu: ownCPU() - cpu}, ordered()
}

// cutOff is true of an error by which a connection ended before its answer.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// order tells a server to read its configuration again. What it gives waits for the command, where there is one.
func (l *lab) order(ctx context.Context, p *process) (wait func() error, err error) {
	if p.server.reload == nil {
		return func() error { return nil }, p.cmd.Process.Signal(p.server.signal)
	}
	cmd := exec.CommandContext(ctx, l.programs[p.server.name], p.arguments(p.server.reload)...)
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	return cmd.Wait, cmd.Start()
}

// word is what a virtual host answers to a connection of its own.
func (l *lab) word(ctx context.Context, p *process, host string) (string, error) {
	client := l.stranger(p)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/1k", nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, mib))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", res.Status)
	}
	return string(text), err
}

// stranger is a client that keeps no connection and finds every host at the process.
func (l *lab) stranger(p *process) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: l.roots}, DisableCompression: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.site.TLS))
		},
	}}
}

// probeVhost finds out whether one of the virtual hosts relays.
func (l *lab) probeVhost(ctx context.Context, p *process, i int) error {
	got, err := l.word(ctx, p, p.site.Vhosts[i])
	if err == nil && got != p.site.Body {
		err = fmt.Errorf("%s answers with %d bytes, not with what the origin has", p.site.Vhosts[i], len(got))
	}
	return err
}

// A memoryWatch reads a server's memory again and again.
type memoryWatch struct {
	stop chan struct{}
	peak chan int64
}

func watchMemory(p *process) *memoryWatch {
	w := &memoryWatch{stop: make(chan struct{}), peak: make(chan int64)}
	go w.run(p.cmd.Process.Pid)
	return w
}

// end gives the most that was seen.
func (w *memoryWatch) end() int64 {
	close(w.stop)
	return <-w.peak
}

// run looks each 10 ms, or seldom enough to take no more than a tenth of a CPU: a look at a large process takes milliseconds.
func (w *memoryWatch) run(pid int) {
	peak, next := int64(0), time.Duration(0)
	for {
		select {
		case <-w.stop:
			w.peak <- peak
			return
		case <-time.After(next):
		}
		began := time.Now()
		pids, _ := tree(pid) // one that ends meanwhile has no memory
		now := int64(0)
		for _, pid := range pids {
			now += memory(pid)
		}
		peak, next = max(peak, now), max(10*time.Millisecond, 9*time.Since(began))
	}
}

// vhosts are names of virtual hosts.
func vhosts(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.test", i)
	}
	return slices.Clip(names)
}
