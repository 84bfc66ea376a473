package h2

import "sync"

const inputSize = 32 << 10 // two frames, at least

var inputs = sync.Pool{New: func() any { b := make([]byte, inputSize); return &b }}

// input is what was read and is not used yet. A connection without frames on their way holds no buffer.
type input struct {
	buf  *[]byte
	r, w int
}

func (in *input) unread() []byte { return (*in.buf)[in.r:in.w] }

// room gives where the next bytes are to be read to. A frame always fits, so there is some.
func (in *input) room() []byte {
	switch {
	case in.buf == nil:
		in.buf = inputs.Get().(*[]byte)
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.w == inputSize || in.r > inputSize/2:
		in.r, in.w = 0, copy(*in.buf, in.unread())
	}
	return (*in.buf)[in.w:]
}

func (in *input) release() {
	if in.buf != nil {
		inputs.Put(in.buf)
	}
	*in = input{}
}
