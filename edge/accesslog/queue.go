package accesslog

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"
)

const (
	mostQueued = 1 << 20         // bytes that may wait for the reader; what comes above is lost
	keep       = 64 << 10        // bytes of a buffer that is kept for the next lines
	lastWait   = 1 * time.Second // how long the end of a log waits for the reader
)

var errSlow = errors.New("whoever reads it is too slow")

// queue is the lines that wait for a reader. While there are any, a goroutine writes them.
type queue struct {
	file  *os.File
	loss  *loss
	drain func() // made once

	mu      sync.Mutex
	next    []byte // whole lines
	spare   []byte
	writing bool
	closed  bool
	idle    chan struct{} // closed when, after close, nothing is written any more
}

func newQueue(f *os.File, l *loss) *queue {
	q := &queue{file: f, loss: l, idle: make(chan struct{})}
	q.drain = q.write
	return q
}

// add leaves a line to be written.
func (q *queue) add(line []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		q.loss.lose(1, os.ErrClosed)
	case len(q.next)+len(line) > mostQueued:
		q.loss.lose(1, errSlow)
	default:
		q.next = append(q.next, line...)
		if !q.writing {
			q.writing = true
			go q.drain()
		}
	}
}

// write writes until nothing waits.
func (q *queue) write() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.next) > 0 {
		out := q.next
		q.next = q.spare[:0]
		q.mu.Unlock()
		n, err := q.put(out)
		q.mu.Lock()
		q.loss.counts.Written.Add(countLines(out[:n]))
		if err != nil {
			q.loss.lose(countLines(out[n:]), err)
		}
		if q.spare = out; cap(out) > keep {
			q.spare = nil
		}
	}
	q.writing = false
	if q.closed {
		close(q.idle)
	}
}

// atOnce is how much goes into a pipe as a whole, whoever else writes to it and however full it is (PIPE_BUF).
const atOnce = 4096

// put writes lines, so many together as stay whole beside those of another generation; a longer one goes alone.
func (q *queue) put(lines []byte) (written int, err error) {
	for written < len(lines) && err == nil {
		rest := lines[written:]
		end := bytes.LastIndexByte(rest[:min(len(rest), atOnce)], '\n') + 1
		if end == 0 {
			end = bytes.IndexByte(rest, '\n') + 1
		}
		var n int
		n, err = q.file.Write(rest[:end])
		written += n
	}
	return written, err
}

// close takes no more lines, and waits until those that it has are written, but not for long. The caller closes the file after it.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if !q.writing {
		return
	}
	q.mu.Unlock()
	late := time.NewTimer(lastWait)
	defer late.Stop()
	select {
	case <-q.idle:
	case <-late.C:
	}
	q.mu.Lock()
	q.loss.lose(countLines(q.next), os.ErrDeadlineExceeded)
	q.next = nil
}
