package drill

import (
	"bytes"
	"encoding/hex"
	"hash/crc64"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// Origin answers the clients, and counts how often each request was executed.
type Origin struct {
	mu   sync.Mutex
	seen map[int64][]uint8 // how often, by a kind and then by the number of its request: a long drill has millions
}

// ServeHTTP answers a request of a Client.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path[1:], "/")
	what, number, found := strings.Cut(rest, "/")
	if !found {
		what, number = "", rest
	}
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch what {
	case "upload":
		o.upload(w, r, id)
	case "download":
		o.count(id)
		download(w, id)
	case "echo":
		websocket.Server{Handler: func(c *websocket.Conn) { io.Copy(c, c) }}.ServeHTTP(w, r)
	default:
		o.answer(w, r, id)
	}
}

func (o *Origin) answer(w http.ResponseWriter, r *http.Request, id int64) {
	if got, err := io.ReadAll(r.Body); err != nil || r.Method == http.MethodPost && !bytes.Equal(got, payload(id)) {
		http.Error(w, "a wrong body", http.StatusBadRequest)
		return
	}
	o.count(id)
	w.Write(payload(id))
}

// upload answers with the hash of what it got, if it is whole.
func (o *Origin) upload(w http.ResponseWriter, r *http.Request, id int64) {
	h := crc64.New(table)
	if _, err := io.Copy(h, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.count(id)
	io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
}

// A slow transfer: so many pieces, with a pause before each.
const (
	pieces     = 20
	pieceRepet = 16
	piecePause = 50 * time.Millisecond
)

// table is of the hashes.
var table = crc64.MakeTable(crc64.ECMA)

// piece is a part of a slow transfer.
func piece(id int64, n int) []byte { return bytes.Repeat(payload(id+int64(n)<<20), pieceRepet) }

// wholeSum is the hash of a whole slow transfer.
func wholeSum(id int64) string {
	h := crc64.New(table)
	for n := range pieces {
		h.Write(piece(id, n))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func download(w http.ResponseWriter, id int64) {
	for n := range pieces {
		time.Sleep(piecePause) // a slow app
		if _, err := w.Write(piece(id, n)); err != nil {
			return
		}
		http.NewResponseController(w).Flush()
	}
}

func (o *Origin) count(id int64) {
	kind, n := id>>kindShift, int(id&(1<<kindShift-1))
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[int64][]uint8{}
	}
	times := o.seen[kind]
	if n >= len(times) {
		times = append(times, make([]uint8, n+1-len(times))...)
		o.seen[kind] = times
	}
	if times[n] < math.MaxUint8 {
		times[n]++
	}
}

// Twice says how many requests were executed more than once.
func (o *Origin) Twice() (n int) {
	for _, times := range o.executions() {
		n += times
	}
	return n
}

// executions says by kind how many executions there were beyond the first of each request.
func (o *Origin) executions() map[int64]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	twice := map[int64]int{}
	for kind, all := range o.seen {
		for _, times := range all {
			twice[kind] += max(0, int(times)-1)
		}
	}
	return twice
}

// echo sends back what comes by each connection, and ends it when the client has ended.
func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(c, c)
			c.Close()
		}()
	}
}
