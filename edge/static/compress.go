package static

import (
	"bufio"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Text is compressed on the way if it is worth it and does not keep a processor busy for long: a file that is larger lies compressed beside itself, or
// goes as it is.
const (
	leastCompressed = 1 << 10
	mostCompressed  = 8 << 20
)

// atWork bounds how many files are compressed on the way at a time. An encoder has one to two megabytes for as long as its client takes to read: many
// slow clients must not have all the memory. Who comes when all are at work gets the file as it is.
var atWork = make(chan struct{}, 64)

// encoder is what writers of gzip and zstd have in common.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressor compresses one file after the other.
type compressor struct {
	encoder
	out *bufio.Writer // encoders write little at a time
	in  []byte
}

// compressors are those at rest.
var compressors = [...]*sync.Pool{
	gzipped: {New: func() any { return newCompressor(gzip.NewWriter(nil)) }},
	zstandard: {New: func() any {
		// One block at a time, on the goroutine that asks; a megabyte is what a file looks back, of the 8 that RFC 9659 lets browsers refuse more than.
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // an option is wrong
		}
		return newCompressor(e)
	}},
}

func newCompressor(e encoder) *compressor {
	return &compressor{e, bufio.NewWriterSize(nil, 8<<10), make([]byte, 32<<10)}
}

// compress writes r to w in a coding. An error leaves w in the middle of it.
func compress(w io.Writer, r io.Reader, c coding) error {
	z := compressors[c].Get().(*compressor)
	z.out.Reset(w)
	z.Reset(z.out)
	err := z.copy(r)
	z.out.Reset(nil)
	z.Reset(nil)
	compressors[c].Put(z)
	return err
}

func (z *compressor) copy(r io.Reader) error {
	for {
		n, err := r.Read(z.in)
		if n > 0 {
			if _, err := z.Write(z.in[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return z.out.Flush()
}
