// Package drill is strict clients, to prove that nothing is lost: they never retry, check every byte of every answer, and count a
// connection that is closed under them.
//
// A request that was written and got no complete, correct answer has failed. A connection that the server closes while it is idle is counted
// apart: this client looks before it writes and so loses nothing by it, but one that does not look would.
//
// A Rig starts an edge, which is known here only as a program, and changes it under these clients: `edge drill`.
package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Report is what the clients saw.
type Report struct {
	excused func() excuse // nil: never
	kind    int64

	mu          sync.Mutex
	last        int64 // the number of the last request
	OK          int64
	Failed      int64
	Apart       int64            // lost, each with an error, while the drill itself killed the process that held them or took their listener away
	CutAway     int64            // of them, those on connections that were open, by a listener that was taken away: not one that was accepted may be among them
	ClosedUnder int64            // idle connections that the server closed
	ToldToClose int64            // connections that ended as the server asked: Connection: close, GOAWAY
	Opened      int64            // connections
	Resumed     int64            // TLS sessions among them
	Refused     int64            // connects that nobody listened for
	Errors      map[string]int64 // of the failed ones
	samples     []sample
}

// sample is how long an answer took. A long drill has millions of them.
type sample struct {
	at   int64 // of the request: nanoseconds since 1970
	took time.Duration
}

func (s sample) end() int64 { return s.at + int64(s.took) }

// wrong is an answer that is complete, and is not what it should be. Nothing excuses it.
type wrong struct{ error }

func wrongly(format string, args ...any) error { return wrong{fmt.Errorf(format, args...)} }

// ok counts an answer to what was asked at began.
func (r *Report) ok(began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.OK++
	r.samples = append(r.samples, sample{began.UnixNano(), time.Since(began)})
}

func (r *Report) count(n *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// excuse is what the drill itself does, by which something may be lost.
type excuse int

const (
	none   excuse = iota
	away          // it has taken the listener away
	killed        // it kills the process
)

// excuse is what the drill does now.
func (r *Report) excuse() excuse {
	if r.excused == nil {
		return none
	}
	return r.excused()
}

// closedUnder counts an idle connection that the server closed.
func (r *Report) closedUnder() {
	if r.excuse() == killed {
		r.count(&r.Apart)
		return
	}
	r.count(&r.ClosedUnder)
}

// fail counts what failed on a connection.
func (r *Report) fail(what string, err error) {
	now := r.excuse()
	if now == away && !errors.As(err, new(wrong)) {
		r.count(&r.CutAway)
	}
	r.failWith(now, what, err)
}

// failWith counts what failed, with this excuse.
func (r *Report) failWith(x excuse, what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x != none && !errors.As(err, new(wrong)) {
		r.Apart++
		return
	}
	r.Failed++
	if r.Errors == nil {
		r.Errors = map[string]int64{}
	}
	r.Errors[fmt.Sprintf("%s: %v", what, err)]++
}

// String gives the report in one line.
func (r *Report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%d ok, %d failed, %d apart, %d closed under, %d told to close, %d opened %v",
		r.OK, r.Failed, r.Apart, r.ClosedUnder, r.ToldToClose, r.Opened, r.Errors)
}

// Client is one kind of client: it sends one request after the other until ctx ends, and reports.
type Client func(ctx context.Context, r *Report)

// Run lets n of each client run until ctx ends, and gives a report by the clients' names.
func Run(ctx context.Context, n int, clients map[string]Client) map[string]*Report {
	reports := map[string]*Report{}
	var wg sync.WaitGroup
	for name, client := range clients {
		r := newReport(nil)
		reports[name] = r
		for range n {
			wg.Go(func() { client(ctx, r) })
		}
	}
	wg.Wait()
	return reports
}

// kinds numbers the reports of a process.
var kinds atomic.Int64

func newReport(excused func() excuse) *Report { return &Report{kind: kinds.Add(1), excused: excused} }

// kindShift divides the number of a request into that of its report and its own.
const kindShift = 40

// id numbers the next request.
func (r *Report) id() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return r.kind<<kindShift | r.last
}

// request makes the next request: one in four is a POST, which nobody may send twice.
func (r *Report) request(base string) (req *http.Request, id int64, err error) {
	id = r.id()
	if id%4 == 0 {
		return newRequest(http.MethodPost, base, id)
	}
	return newRequest(http.MethodGet, base, id)
}

// post makes the next request, a POST.
func (r *Report) post(base string) (req *http.Request, id int64, err error) {
	return newRequest(http.MethodPost, base, r.id())
}

func newRequest(method, base string, id int64) (*http.Request, int64, error) {
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader(payload(id))
	}
	req, err := http.NewRequest(method, base+"/drill/"+strconv.FormatInt(id, 10), body)
	if err == nil {
		req.GetBody = nil // so that no library may send it again
	}
	return req, id, err
}

// payload is the body of a request, and of its answer.
func payload(id int64) []byte {
	line := fmt.Appendf(nil, "%016x", crc32.ChecksumIEEE(strconv.AppendInt(nil, id, 10)))
	return bytes.Repeat(line, 64)
}

// verify reads an answer to its end and checks it.
func verify(resp *http.Response, id int64) error {
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return wrongly("status %d", resp.StatusCode)
	case !bytes.Equal(got, payload(id)):
		return wrongly("a wrong answer of %d bytes", len(got))
	}
	return nil
}
