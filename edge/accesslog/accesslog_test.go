package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"edge/conf"
	"edge/edge/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request gives the record of a request with everything.
func request() *record.Record {
	start := time.Date(2026, 11, 23, 6, 0, 0, 5e6, time.UTC)
	return &record.Record{
		ID: record.ID{1, 2, 3, 15: 9}, Start: start, Took: 1500 * time.Microsecond, Event: record.Request, Listener: "https", Client: netip.MustParseAddrPort("[::1]:5"),
		Proto: "HTTP/1.1", TLS: 0x304, Method: []byte("GET"), Host: []byte("a.test"), Path: []byte("/\"\\\x01\xffé\x7f€"), Query: []byte("a=1&code=x&b=\"\xff"),
		Vhost: "a.test", Route: "/", User: `al "ice`, Status: 200, BytesIn: 2, BytesOut: 3, Err: errors.New("why"), Upstream: "up:1", Asked: 1,
		Connected: 20*time.Microsecond + 1, Answered: time.Millisecond + 1,
		Referer: []byte("https://b.test/?q=1&Token=x#access_token=y"), UserAgent: []byte("agent\" \x1b\r\n\\ é"),
	}
}

func line(t *testing.T, format conf.LogFormat, r *record.Record, hide ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(conf.Log{Access: path, Format: format, Hide: hide}, nil, new(Counts), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.Write(r)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestJSON(t *testing.T) {
	for what, c := range map[string]struct {
		record *record.Record
		want   map[string]any
	}{
		"a request": {request(), map[string]any{
			"time": "2026-11-23T06:00:00.005Z", "event": "request", "id": "01020300-0000-0000-0000-000000000009", "listener": "https", "vhost": "a.test", "route": "/",
			"client": "[::1]:5", "proto": "HTTP/1.1", "tls": "TLS 1.3", "method": "GET", "host": "a.test", "path": "/\"\\\x01\ufffdé\x7f€",
			"query": "a=1&code=-&b=\"\ufffd", "status": 200.0, "in": 2.0, "out": 3.0, "us": 1500.0, "upstream": "up:1", "connect_us": 20.0, "upstream_us": 1000.0,
			"user": `al "ice`, "error": "why",
		}},
		"the end of a tunnel": {&record.Record{Event: record.TunnelEnded, Reason: "idle"}, map[string]any{
			"time": "0001-01-01T00:00:00.000Z", "event": "tunnel ended", "status": 0.0, "in": 0.0, "out": 0.0, "us": 0.0, "reason": "idle",
		}},
	} {
		var got map[string]any
		text := line(t, conf.LogJSON, c.record)
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v: %s", what, err, text)
		}
		for k, v := range c.want {
			if got[k] != v {
				t.Errorf("%s: %s is %v, want %v", what, k, got[k], v)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %v", what, got)
		}
	}
}

// What stands between quotation marks cannot end them, nor the line.
func TestCombined(t *testing.T) {
	silent := request()
	silent.Client, silent.User, silent.Method, silent.Query, silent.Status, silent.Referer, silent.UserAgent = netip.AddrPort{}, "", nil, nil, 0, nil, nil
	opened := request()
	opened.Event = record.TunnelOpened
	for what, c := range map[string]struct {
		record *record.Record
		want   string
	}{
		"a request": {request(), `::1 - al\x20\x22ice [23/Nov/2026:06:00:00 +0000] "GET /\x22\x5C\x01\xFF\xC3\xA9\x7F\xE2\x82\xAC?a=1&code=-&b=\x22\xFF HTTP/1.1" 200 3 ` +
			`"https://b.test/?q=1&Token=-#access_token=-" "agent\x22 \x1B\x0D\x0A\x5C \xC3\xA9"` + "\n"},
		"nothing known": {silent, `unix: - - [23/Nov/2026:06:00:00 +0000] "-" 000 3 "-" "-"` + "\n"},
		"a tunnel that opens, of which only the end is written": {opened, ""},
	} {
		if got := line(t, conf.LogCombined, c.record, "token", "access_token"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, c.want)
		}
	}
}

func TestQuery(t *testing.T) {
	hide := newHidden([]string{"token", "Password", "api_key"})
	long := strings.Repeat("a", 2000)
	for query, want := range map[string]string{
		"":                                       "",
		"a=b":                                    "a=b",
		"token=x":                                "token=-",
		"token=":                                 "token=-",
		"token":                                  "token",
		"TOKEN=x&a=1":                            "TOKEN=-&a=1",
		"a=1&%74oken=x":                          "a=1&%74oken=-",
		"%54%4f%4B%45%4e=x&":                     "%54%4f%4B%45%4e=-&",
		"password=x&PASSWORD=y":                  "password=-&PASSWORD=-",
		"%zztoken=x":                             "%zztoken=x",
		"token%=x":                               "token%=x",
		"code=once&flow=once":                    "code=-&flow=-",
		"f=x&invite=x&state=x&ff=y":              "f=-&invite=-&state=-&ff=y",
		"a=1;token=x":                            "a=1;token=-",
		"token=x;y=z&a=1":                        "token=-&a=1",
		"token=x=y&a=token":                      "token=-&a=token",
		"user[password]=x&a[b]=c":                "user[password]=-&a[b]=c",
		"token[]=x&token%5b0%5D=x&%5Btoken%5D=x": "token[]=-&token%5b0%5D=-&%5Btoken%5D=-",
		"tokens=x&atoken=y&a=token=z":            "tokens=x&atoken=y&a=token=z",
		"&&;token=x":                             "&&;token=-",
		long:                                     long[:1024] + "[...]",
		long[:1024]:                              long[:1024],
		long[:1020] + "&token=secret":            long[:1020] + "&tok[...]",
		"token=" + long + "&a=1":                 "token=-&a=1",
		strings.Repeat("%61", 100) + "token=x":   strings.Repeat("%61", 100) + "token=x",
		strings.Repeat("token=secret&", 100)[:65]: "token=-&token=-&token=-&token=-&token=-&",
	} {
		if got := string(hide.appendQuery([]byte("before "), []byte(query))); got != "before "+want {
			t.Errorf("%q is %q, want %q", query, got, want)
		}
	}
	if got := string(hide.appendURL(nil, []byte("/a/b"))); got != "/a/b" {
		t.Error(got)
	}
	if got := string(hide.appendURL(nil, []byte("https://login.test/register?invite=c0de"))); got != "https://login.test/register?invite=-" {
		t.Error(got)
	}
}

// Nothing that a client sends ends up in two lines, or brings a hidden value into one, whatever stands around it and however its name is written.
func FuzzLines(f *testing.F) {
	f.Add([]byte("/a"), []byte("b=c;d"), []byte("e=f#g"), uint(0))
	f.Add([]byte("/\"\n"), []byte("%54oken=;"), []byte("?&;#"), uint(0b1010_0110))
	const secret = "S3CRET"
	hide := newHidden([]string{"token"})
	f.Fuzz(func(t *testing.T, path, before, after []byte, how uint) {
		if bytes.Contains(slices.Concat(path, []byte("\n"), before, []byte("\n"), after), []byte(secret)) {
			t.Skip()
		}
		var name []byte
		for i, c := range []byte("token") {
			if how>>(5+i)&1 == 1 {
				c -= 0x20
			}
			if name = append(name, c); how>>i&1 == 1 {
				name = fmt.Appendf(name[:len(name)-1], "%%%02x", c)
			}
		}
		query := slices.Concat(before, []byte("&"), name, []byte("="+secret+"&"), after)
		r := &record.Record{Method: []byte("GET"), Path: path, Query: query, Referer: slices.Concat([]byte("http://a/?"), query), UserAgent: path, Proto: "HTTP/1.1"}
		asJSON, combined := appendJSON(nil, r, &hide), appendCombined(nil, r, &hide)
		if !json.Valid(asJSON) || bytes.Count(asJSON, newline) != 1 {
			t.Errorf("not a line of JSON: %q", asJSON)
		}
		if bytes.Count(combined, []byte(`"`)) != 6 || bytes.Count(combined, newline) != 1 {
			t.Errorf("not a line of six quotation marks: %q", combined)
		}
		if bytes.Contains(asJSON, []byte(secret)) || bytes.Contains(combined, []byte(secret)) {
			t.Errorf("a hidden value is written: %s%s", asJSON, combined)
		}
	})
}

// BenchmarkWorst is what a client can make of 64 KiB.
func BenchmarkWorst(b *testing.B) {
	hide := newHidden([]string{"token"})
	for _, part := range []string{"&", "a[", "#", "%", `"`, "token=x&", "token=x;", "?a[=", "a[b]=c&"} {
		b.Run(part, func(b *testing.B) {
			text := bytes.Repeat([]byte(part), 64<<10/len(part))
			r := &record.Record{Method: []byte("GET"), Query: text, Referer: text, UserAgent: text}
			for b.Loop() {
				appendCombined(nil, r, &hide)
			}
		})
	}
}

// A line costs nothing, whichever its format.
func TestNoAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	r := request()
	r.Path, r.Query, r.User, r.UserAgent, r.Err = []byte("/a/b"), []byte("a=b&code=c"), "alice", []byte("agent"), nil
	for _, format := range []conf.LogFormat{conf.LogJSON, conf.LogCombined} {
		l := at(t, conf.Log{Access: "/dev/null", Format: format, Hide: []string{"token", "password"}}, new(Counts), nil)
		l.out.queue = nil // as if it were a file on a disk
		if n := testing.AllocsPerRun(1000, func() { l.Write(r) }); n >= 1 {
			t.Errorf("%s: %v allocations", format, n)
		}
	}
}

// at opens a log that the test's end closes.
func at(t testing.TB, c conf.Log, counts *Counts, log io.Writer) *Log {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(log, nil))
	}
	l, err := Open(c, nil, counts, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Lines written while the file is rotated are in one of the two files, each whole.
func TestReopenLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	var c Counts
	l := at(t, conf.Log{Access: path}, &c, nil)
	const writers, each = 4, 500
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				l.Write(&record.Record{Event: record.Request, Start: time.Now()})
			}
		})
	}
	if err := errors.Join(os.Rename(path, path+".1"), l.Reopen()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(path + ".1")
	all := bytes.Split(bytes.TrimSuffix(append(b, a...), newline), newline)
	if len(all) != writers*each || c.Written.Load() != writers*each || c.Dropped.Load() != 0 {
		t.Errorf("%d lines, %d counted and %d lost, want %d", len(all), c.Written.Load(), c.Dropped.Load(), writers*each)
	}
	for _, line := range all {
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
	}
	l.Write(&record.Record{})
	if c.Dropped.Load() != 1 {
		t.Error("a line after Close is not counted as lost")
	}
}

// A configuration that names the same file writes to the same file, whatever its lines look like.
func TestOpenKeeps(t *testing.T) {
	dir := t.TempDir()
	first := at(t, conf.Log{Access: filepath.Join(dir, "a"), Hide: []string{"a"}}, new(Counts), nil)
	for what, c := range map[string]struct {
		conf         conf.Log
		same, shares bool
	}{
		"the same":     {conf.Log{Access: filepath.Join(dir, "a"), Hide: []string{"a"}}, true, true},
		"other names":  {conf.Log{Access: filepath.Join(dir, "a"), Hide: []string{"b"}}, false, true},
		"combined":     {conf.Log{Access: filepath.Join(dir, "a"), Hide: []string{"a"}, Format: conf.LogCombined}, false, true},
		"another file": {conf.Log{Access: filepath.Join(dir, "b"), Hide: []string{"a"}}, false, false},
		"off":          {conf.Log{Access: "off"}, false, false},
	} {
		l, err := Open(c.conf, first, new(Counts), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if (l == first) != c.same || l.Shares(first) != c.shares {
			t.Errorf("%s: same %v, shares %v", what, l == first, l.Shares(first))
		}
		if !c.shares {
			l.Close()
		}
	}
}

// safe is a buffer for several goroutines.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(strings.Lines(s.b.String()))
}

// With a full disk each line is written or counted as lost. The log says it at once, and then once a minute.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Counts
		var log safe
		l := at(t, conf.Log{Access: "/dev/full"}, &c, &log)
		l.out.queue = nil // as if it were a file on a disk
		for range 119 {
			l.Write(request())
			time.Sleep(time.Second - time.Nanosecond) // not in the moment in which it is said
		}
		if c.Written.Load() != 0 || c.Dropped.Load() != 119 {
			t.Errorf("%d written, %d lost", c.Written.Load(), c.Dropped.Load())
		}
		said := log.lines()
		if len(said) != 2 || !strings.Contains(said[0], "lines=1 because") || !strings.Contains(said[1], "lines=60 because") ||
			!strings.Contains(said[1], unix.ENOSPC.Error()) {
			t.Errorf("the log says\n%s", strings.Join(said, ""))
		}
		l.Close()
		if said := log.lines(); len(said) != 3 || !strings.Contains(said[2], "lines=58 because") {
			t.Errorf("at its end the log says\n%s", strings.Join(said, ""))
		}
	})
}

// A line that the disk had room for only in part is lost, and no other one with it once there is room again.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var c Counts
	l := at(t, conf.Log{Access: path}, &c, nil)
	l.Write(request())
	size, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	full := func(at int64) (room func()) {
		var was unix.Rlimit
		few := unix.Rlimit{Cur: uint64(at)}
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
		few.Max = was.Max
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &few); err != nil {
			t.Fatal(err)
		}
		return func() { unix.Setrlimit(unix.RLIMIT_FSIZE, &was) }
	}
	room := full(size.Size() + 10)
	l.Write(request())
	l.Write(request())
	room()
	l.Write(request())
	l.Write(request())
	l.Close()
	text, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		if whole := json.Valid([]byte(line)); whole != (i != 1) {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
	if len(lines) != 4 || len(lines[1]) != 10 || c.Written.Load() != 3 || c.Dropped.Load() != 2 {
		t.Errorf("%d written, %d lost, and in the file:\n%s", c.Written.Load(), c.Dropped.Load(), text)
	}
}

// Whoever reads a pipe may be slow, or do nothing: nobody waits for him, what he has no room for is counted, and the rest he gets whole.
func TestSlowReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(conf.Log{Access: path}, nil, new(Counts), nil); !errors.Is(err, unix.ENXIO) {
		t.Errorf("a pipe that nobody reads: %v", err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c Counts
	var log safe
	l := at(t, conf.Log{Access: path}, &c, &log)
	const n = 10_000
	begun := time.Now()
	for range n {
		l.Write(request())
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%d lines took %v", n, took)
	}
	lost := c.Dropped.Load()
	if lost == 0 || lost > n-mostQueued/1000 {
		t.Errorf("%d of %d lines are lost", lost, n)
	}
	got := make(chan int64)
	go func() {
		text, _ := io.ReadAll(r)
		for _, line := range bytes.Split(bytes.TrimSuffix(text, newline), newline) {
			if !json.Valid(line) {
				t.Errorf("not JSON: %s", line)
				break
			}
		}
		got <- int64(bytes.Count(text, newline))
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if read := <-got; read != n-lost || read != c.Written.Load() || c.Dropped.Load() != lost {
		t.Errorf("%d lines were read, %d counted; %d were lost, then %d", read, c.Written.Load(), lost, c.Dropped.Load())
	}
	if said := log.lines(); len(said) == 0 || !strings.Contains(said[0], errSlow.Error()) {
		t.Errorf("the log says %q", said)
	}
}

// Two generations write to one pipe at a time: however slowly it is read, their lines stay whole.
func TestTwoWritersOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c Counts
	l := at(t, conf.Log{Access: path}, &c, nil)
	const n = 2000 // the pipe is full soon: the others wait for the reader
	for range n {
		l.Write(request())
	}
	other, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	var text []byte
	page, said := make([]byte, 4096), []byte("{\"event\":\"other\"}\n")
	for others := int64(0); countLines(text) < n+others; {
		k, err := r.Read(page)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, page[:k]...)
		if others == 100 {
			continue
		}
		if _, err := unix.Write(other, said); err == nil {
			others++
		}
	}
	for line := range bytes.Lines(text) {
		if !json.Valid(line) {
			t.Fatalf("torn: %s", line)
		}
	}
}

// A log whose reader has stopped for good does not hold up the end, and what was not read counts as lost.
func TestCloseWaitsNotForLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c Counts
	l := at(t, conf.Log{Access: path}, &c, nil)
	const n = 1000
	for range n {
		l.Write(request())
	}
	begun := time.Now()
	l.Close()
	if took := time.Since(begun); took < lastWait || took > 10*lastWait {
		t.Errorf("it took %v", took)
	}
	for limit := time.Now().Add(10 * time.Second); c.Written.Load()+c.Dropped.Load() != n; time.Sleep(time.Millisecond) { // the writer was woken by the close
		if time.Now().After(limit) {
			t.Fatalf("%d lines were written and %d lost, of %d", c.Written.Load(), c.Dropped.Load(), n)
		}
	}
	if c.Dropped.Load() == 0 {
		t.Error("nothing is lost")
	}
}

// BenchmarkWrite is a line of a request, written by as many goroutines as there are processors, and by many.
func BenchmarkWrite(b *testing.B) {
	for name, c := range map[string]struct{ processors, each int }{"one": {1, 1}, "few": {2, 1}, "many": {2, 50}} {
		b.Run(name, func(b *testing.B) {
			var n Counts
			l := at(b, conf.Log{Access: filepath.Join(b.TempDir(), "log"), Hide: []string{"token"}}, &n, nil)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.processors))
			b.SetParallelism(c.each)
			b.ReportAllocs()
			defer func() { b.ReportMetric(float64(n.Dropped.Load())/float64(b.N), "lost/op") }()
			b.RunParallel(func(pb *testing.PB) {
				r := request()
				r.Path, r.Query, r.User, r.Err = []byte("/a/b"), []byte("a=b"), "alice", nil
				for pb.Next() {
					l.Write(r)
				}
			})
		})
	}
}
