package accesslog

import (
	"bytes"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Counts are what became of the lines. They outlive the logs that keep them.
type Counts struct {
	Written atomic.Int64
	Dropped atomic.Int64 // the file took none of it, or not all
}

// output is where lines go.
//
// To a file on a disk each request's goroutine writes its own line, in one write: when it goes on, the line is with the kernel, and no death of
// this process loses it. To join the lines of concurrent requests in one write was measured and saves nothing: see docs/ARCHITECTURE.md.
// To a pipe, a terminal or a socket, whose reader may be slow or dead, no request's goroutine ever writes: that has a queue.
type output struct {
	path string // "": standard output
	loss *loss

	mu    sync.RWMutex
	file  *os.File    // nil: closed
	queue *queue      // of the file; nil: it is one on a disk
	torn  atomic.Bool // the file ends within a line
}

func open(target string, c *Counts, log *slog.Logger) (*output, error) {
	o := &output{loss: &loss{counts: c, log: log}}
	if target != "stdout" {
		o.path = target
		return o, o.reopen()
	}
	o.use(os.Stdout)
	return o, nil
}

// use has the next line go to f. o.mu is held, or nobody else knows o.
func (o *output) use(f *os.File) {
	o.file, o.queue = f, nil
	o.torn.Store(false)
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		o.queue = newQueue(f, o.loss)
	}
}

// reopen opens the file anew. A FIFO without a reader is an error, not a wait.
func (o *output) reopen() error {
	if o.path == "" {
		return nil
	}
	f, err := os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return err
	}
	o.mu.Lock()
	old, queue := o.file, o.queue
	o.use(f)
	o.mu.Unlock()
	switch {
	case old == nil:
		return nil
	case queue == nil:
		return old.Close()
	}
	go func() {
		queue.close()
		old.Close()
	}()
	return nil
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.file
	o.file = nil
	if f != nil && o.queue != nil {
		o.queue.close()
	}
	o.loss.say()
	if f == nil || o.path == "" {
		return nil
	}
	return f.Close()
}

// write writes a line, or has it written soon.
func (o *output) write(line []byte) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	switch {
	case o.file == nil:
		o.loss.lose(1, os.ErrClosed)
	case o.queue != nil:
		o.queue.add(line)
	default:
		o.put(line)
	}
}

var newline = []byte("\n")

// put writes a line to a file on a disk. Behind one that was not written to its end, because the disk was full, it begins a new one.
func (o *output) put(line []byte) {
	if o.torn.Swap(false) {
		if _, err := o.file.Write(newline); err != nil {
			o.torn.Store(true)
			o.loss.lose(1, err)
			return
		}
	}
	n, err := o.file.Write(line)
	if err != nil {
		if n > 0 {
			o.torn.Store(true)
		}
		o.loss.lose(1, err)
		return
	}
	o.loss.counts.Written.Add(1)
}

// countLines counts whole lines.
func countLines(text []byte) int64 { return int64(bytes.Count(text, newline)) }
