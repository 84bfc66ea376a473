// Package drill is strict clients, to prove that nothing is lost: they never retry, check every byte of every answer, and count a
// connection that is closed under them.
//
// A request that was written and got no complete, correct answer has failed. A connection that the server closes while it is idle is counted
// apart: this client looks before it writes and so loses nothing by it, but one that does not look would.
package drill

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Report is what the clients saw.
type Report struct {
	mu          sync.Mutex
	OK          int64
	Failed      int64
	ClosedUnder int64            // idle connections that the server closed
	ToldToClose int64            // connections that ended as the server asked: Connection: close, GOAWAY
	Opened      int64            // connections
	Errors      map[string]int64 // of the failed ones
}

func (r *Report) count(n *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

func (r *Report) fail(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	return fmt.Sprintf("%d ok, %d failed, %d closed under, %d told to close, %d opened %v",
		r.OK, r.Failed, r.ClosedUnder, r.ToldToClose, r.Opened, r.Errors)
}

// Client is one kind of client: it sends one request after the other until ctx ends, and reports.
type Client func(ctx context.Context, r *Report)

// Run lets n of each client run until ctx ends, and gives a report by the clients' names.
func Run(ctx context.Context, n int, clients map[string]Client) map[string]*Report {
	reports := map[string]*Report{}
	var wg sync.WaitGroup
	for name, client := range clients {
		r := &Report{}
		reports[name] = r
		for range n {
			wg.Go(func() { client(ctx, r) })
		}
	}
	wg.Wait()
	return reports
}

// ids numbers the requests of a process.
var ids atomic.Int64

// request makes the next request: one in four is a POST, which nobody may send twice.
func request(base string) (r *http.Request, id int64, err error) {
	id = ids.Add(1)
	method, body := http.MethodGet, io.Reader(nil)
	if id%4 == 0 {
		method, body = http.MethodPost, bytes.NewReader(payload(id))
	}
	r, err = http.NewRequest(method, base+"/drill/"+strconv.FormatInt(id, 10), body)
	return r, id, err
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
		return fmt.Errorf("status %d", resp.StatusCode)
	case !bytes.Equal(got, payload(id)):
		return fmt.Errorf("a wrong answer of %d bytes", len(got))
	}
	return nil
}

// Origin answers the clients, and counts how often each request was executed.
type Origin struct {
	mu   sync.Mutex
	seen map[int64]int
}

// ServeHTTP answers a request of a Client.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.URL.Path[len("/drill/"):], 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if got, err := io.ReadAll(r.Body); err != nil || r.Method == http.MethodPost && !bytes.Equal(got, payload(id)) {
		http.Error(w, "a wrong body", http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	if o.seen == nil {
		o.seen = map[int64]int{}
	}
	o.seen[id]++
	o.mu.Unlock()
	w.Write(payload(id))
}

// Twice says how many requests were executed more than once.
func (o *Origin) Twice() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, times := range o.seen {
		if times > 1 {
			n++
		}
	}
	return n
}
