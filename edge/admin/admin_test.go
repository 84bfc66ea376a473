package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds every wait of the tests.
const soon = 20 * time.Second

var ops = Operations{
	"echo": func(_ context.Context, args json.RawMessage) (any, error) { return args, nil },
	"fail": func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("it cannot be") },
	"move": func(context.Context, json.RawMessage) (any, error) { return nil, ErrMoved },
	"huge": func(context.Context, json.RawMessage) (any, error) { return strings.Repeat("x", MaxLine), nil },
	"wait": func(ctx context.Context, _ json.RawMessage) (any, error) { <-ctx.Done(); return nil, ctx.Err() },
}

func listen(t *testing.T, path string) *Server {
	t.Helper()
	s, err := Listen(path, ops, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func ask(t *testing.T, path, op string, args any) (result string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	err = Ask(ctx, path, op, args, &result)
	return result, err
}

func TestAsk(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 40), "c.sock") // longer than a socket's path may be
	os.Mkdir(filepath.Dir(path), 0o700)
	listen(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	for _, test := range []struct{ op, args, want, wrong string }{
		{op: "echo", args: "héllo\n", want: "héllo\n"},
		{op: "fail", wrong: "it cannot be"},
		{op: "huge", wrong: "more than"},
		{op: "none", wrong: `knows no "none"`},
	} {
		got, err := ask(t, path, test.op, test.args)
		if got != test.want || (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%s: %q, %v", test.op, got, err)
		}
	}
}

// What is no request is told so and bounded; who says nothing is not waited for.
func TestBadRequests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	listen(t, path)
	for name, test := range map[string]struct {
		text string
		want string
	}{
		"no JSON":       {"hello\n", "the request: "},
		"another time":  {`{"v":9,"op":"echo"}` + "\n", "version 9"},
		"a long one":    {strings.Repeat("x", MaxLine+1), "more than"},
		"says nothing":  {"", "i/o timeout"},
		"never an end":  {`{"v":1`, "i/o timeout"},
		"the wrong way": {"\n", "the request: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(soon))
			in := bufio.NewReader(c)
			if line, err := in.ReadString('\n'); !strings.Contains(line, fmt.Sprintf(`"pid":%d`, os.Getpid())) {
				t.Errorf("hello is %q, %v", line, err)
			}
			io.WriteString(c, test.text)
			var a answer
			if line, err := in.ReadString('\n'); json.Unmarshal([]byte(line), &a) != nil || !strings.Contains(a.Error, test.want) {
				t.Errorf("answered %q, %v", line, err)
			}
		})
	}
}

// Another user's requests are not done.
func TestStranger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	s, err := listenFor(func(uint32) bool { return false }, path, ops, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := ask(t, path, "echo", "x"); err == nil || !strings.Contains(err.Error(), "only root") {
		t.Errorf("a stranger was told %q, %v", got, err)
	}
	for uid, want := range map[uint32]bool{0: true, uint32(os.Geteuid()): true, 4242: false} {
		if trusted(uid) != want {
			t.Errorf("user %d is trusted: %v", uid, !want)
		}
	}
}

// There is room for so many clients; one more is told so at once, and the next one finds room again.
func TestRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	s := listen(t, path)
	var waiting []net.Conn
	for range maxClients {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		bufio.NewReader(c).ReadString('\n')
		waiting = append(waiting, c)
	}
	if _, err := ask(t, path, "echo", "x"); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("one too many: %v", err)
	}
	for _, c := range waiting {
		c.Close()
	}
	for limit := time.Now().Add(soon); len(s.room) > 0 && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	if got, err := ask(t, path, "echo", "x"); got != "x" {
		t.Errorf("once there is room: %q, %v", got, err)
	}
}

// The path passes from one server to the next without a moment when nobody answers, and the old one's end does not take it along.
func TestPasses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	end := make(chan struct{})
	var clients sync.WaitGroup
	first := listen(t, filepath.Join(dir, "0.sock"))
	if err := first.AlsoAt(path); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				if got, err := ask(t, path, "echo", "x"); got != "x" {
					t.Errorf("question %d: %q, %v", n, got, err)
					return
				}
			}
		})
	}
	old := first
	for i := range 30 {
		next := listen(t, filepath.Join(dir, fmt.Sprintf("%d.sock", i+1)))
		if err := next.AlsoAt(path); err != nil {
			t.Fatal(err)
		}
		old.Close()
		old = next
	}
	close(end)
	clients.Wait()
	if got, err := ask(t, path, "echo", "after"); got != "after" {
		t.Errorf("at the end: %q, %v", got, err)
	}
	old.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A client that is sent on, or finds nobody, tries again, and gives up in time.
func TestGivesUp(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.sock")
	listen(t, path)
	tries, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := askWhile(t.Context(), tries, path, request{V: version, Op: "move"}, nil); err == nil || err.Error() != ErrMoved.Error() {
		t.Errorf("moved: %v", err)
	}
	if err := askWhile(t.Context(), tries, filepath.Join(dir, "none"), request{V: version, Op: "echo"}, nil); err == nil || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("nobody: %v", err)
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := Ask(ctx, path, "wait", nil, nil); err == nil || time.Since(begin) > soon/2 {
		t.Errorf("waited %v: %v", time.Since(begin), err)
	}
}
