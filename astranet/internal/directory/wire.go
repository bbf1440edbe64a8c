package directory

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errMalformed is the cause of all errors of decoding.
var errMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// A reader takes values off a text of bytes. After the first that is not there, or not in its one form, all are zero and err says
// which it was. What it returns are parts of the text.
type reader struct {
	rest string
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = malformed(format, args...)
	}
	r.rest = ""
}

func (r *reader) take(n int) string {
	if n > len(r.rest) {
		r.fail("cut off")
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) u64() (v uint64) {
	for _, c := range []byte(r.take(8)) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) u32() (v uint32) {
	for _, c := range []byte(r.take(4)) {
		v = v<<8 | uint32(c)
	}
	return v
}

// uvarint reads a number of at most most, as encoding/binary has it, in the shortest form.
func (r *reader) uvarint(most uint64) uint64 {
	var v uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		if i == binary.MaxVarintLen64-1 && c > 1 || c == 0 && i > 0 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			if v > most {
				r.fail("%d, at most %d", v, most)
				return 0
			}
			return v
		}
	}
	r.fail("a number is cut off, or too long")
	return 0
}

// text reads a length, at most most, and as many bytes.
func (r *reader) text(most int) string { return r.take(int(r.uvarint(uint64(most)))) }

// end fails if anything is left.
func (r *reader) end() error {
	if r.err == nil && r.rest != "" {
		r.fail("%d bytes too many", len(r.rest))
	}
	return r.err
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
