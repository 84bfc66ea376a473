package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"text/template"
	"time"
)

// A process is a server that runs.
type process struct {
	server server
	site   site
	cmd    *exec.Cmd
	ended  chan struct{}
	output string // the file with what it printed

	tickets []tls.ClientSessionCache // of clients that resume
	rate    float64                  // requests a second at the last load, where the next one's length depends on it; 0: there was none
}

// setup is what a work wants of a configuration.
type setup struct {
	log    bool
	vhosts int
}

func (w work) setup() setup { return setup{w.log, w.vhosts} }

// start starts a server in a folder of its own, made anew, and returns once it accepts.
func (l *lab) start(ctx context.Context, s server, like setup) (*process, error) {
	own := l.ports[s.name]
	own.Log, own.Vhosts, own.Word = like.log, vhosts(like.vhosts), "first"
	if err := os.RemoveAll(own.Dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(own.Dir, 0o755); err != nil {
		return nil, err
	}
	p := &process{server: s, site: own, ended: make(chan struct{}), output: filepath.Join(own.Dir, "output")}
	if err := p.configure(); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(l.programs[s.name], p.arguments(s.args)...)
	p.cmd.Dir = own.Dir
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "XDG_DATA_HOME="+own.Dir, "XDG_CONFIG_HOME="+own.Dir)
	// A group of its own: an interrupt from the terminal is ours to handle, and its children end with it. If we are killed, so is it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.launch(); err != nil {
		return nil, err
	}
	ports := []int{own.TLS, own.Plain}
	if s.plain {
		ports = ports[1:]
	}
	for _, port := range ports {
		if err := p.await(ctx, port); err != nil {
			p.stop()
			return nil, err
		}
	}
	return p, nil
}

// configure writes the configuration of the site, and the list of virtual hosts that HAProxy's names.
func (p *process) configure() error {
	if p.server.config == "" {
		return nil
	}
	err := fill(p.conf(), p.server.config, p.site)
	if err == nil && p.server.name == "haproxy" {
		err = fill(filepath.Join(p.site.Dir, "hosts.map"), "hosts.map", p.site)
	}
	return err
}

func (p *process) conf() string { return filepath.Join(p.site.Dir, p.server.config) }

// arguments fills in what stands for something else.
func (p *process) arguments(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		switch arg {
		case "CONF":
			args[i] = p.conf()
		case "PLAIN":
			args[i] = fmt.Sprintf("127.0.0.1:%d", p.site.Plain)
		case "ADMIN":
			args[i] = fmt.Sprintf("127.0.0.1:%d", p.site.Admin)
		}
	}
	return args
}

// fill writes the configuration of a template.
func fill(path, name string, own site) error {
	t, err := template.ParseFS(configs, name)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, own); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

func (p *process) launch() error {
	out, err := os.OpenFile(p.output, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go p.wait()
	return nil
}

func (p *process) wait() {
	p.cmd.Wait()
	close(p.ended)
}

// await returns once the server accepts on a port.
func (p *process) await(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // Caddy takes a while with many virtual hosts
	defer cancel()
	for {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended at once: %s", p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("it does not accept: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) lastWords() string {
	text, _ := os.ReadFile(p.output)
	return lastLine(string(text))
}

// stop ends the server and its children.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(3 * time.Second):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// url is where a work's load goes.
func (p *process) url(w work) string {
	if w.https {
		return fmt.Sprintf("https://127.0.0.1:%d%s", p.site.TLS, w.path)
	}
	return fmt.Sprintf("http://127.0.0.1:%d%s", p.site.Plain, w.path)
}

// probe asks once, with an eye on what the load generators do not look at: the body.
func (l *lab) probe(ctx context.Context, p *process, w work) error {
	if w.size == 0 {
		return nil // its load looks at the bodies
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: l.roots}, DisableKeepAlives: true, DisableCompression: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(w), nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || len(body) != w.size {
		return fmt.Errorf("%s answers %s with %d bytes, want 200 and %d", req.URL, res.Status, len(body), w.size)
	}
	return nil
}

// checkLog finds out whether the server wrote a line for each request, or none where it must not. A line may come a little after the
// answer, where the server was not scheduled in between.
func (p *process) checkLog(on bool, requests int) error {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		lines, err := p.logged()
		switch {
		case err != nil:
			return err
		case !on && lines > requests/100:
			return fmt.Errorf("the access log is off, but there are %d lines", lines)
		case !on || lines >= requests:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the access log has %d lines for %d requests", lines, requests)
		}
	}
}

// logged is how many lines the access log has; one that is not there has none.
func (p *process) logged() (int, error) {
	path := filepath.Join(p.site.Dir, "access.log")
	if p.server.output {
		path = p.output
	}
	lines, err := countLines(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return lines, err
}

func countLines(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines, buf := 0, make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		lines += bytes.Count(buf[:n], []byte("\n"))
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// negotiated asks as the load generators do and gives what came of it.
func (l *lab) negotiated(ctx context.Context, p *process) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", p.site.TLS))
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+l.offer())
	out, err := cmd.CombinedOutput() // standard input is empty: it ends after the handshake
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	version := regexp.MustCompile(`New, (\S+), Cipher is (\S+)`).FindSubmatch(out)
	group := regexp.MustCompile(`Server Temp Key: ([^,\n]+)`).FindSubmatch(out)
	if version == nil || group == nil {
		return "", fmt.Errorf("openssl s_client tells no cipher (%w): %s", err, lastLine(string(out)))
	}
	return fmt.Sprintf("%s, %s, %s", version[1], version[2], group[1]), nil
}
