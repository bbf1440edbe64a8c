package mux

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// check checks the list of chunks against the offsets.
func (k *retained) check() error {
	n, at, seen := k.begin, false, 0
	for c := k.first; c != nil; c = c.next {
		if c == k.at {
			at = true
			if n+uint64(k.pos) != k.sent || k.pos > c.w {
				return fmt.Errorf("sent is %d, and where that is is %d", k.sent, n+uint64(k.pos))
			}
		}
		if c.next == nil && c != k.last {
			return fmt.Errorf("the last chunk is not the last")
		}
		n += uint64(c.w)
		seen++
	}
	switch {
	case k.first != nil && (n != k.end || !at):
		return fmt.Errorf("the chunks end at %d, and the bytes at %d; sent is in one: %v", n, k.end, at)
	case k.first == nil && (k.last != nil || k.at != nil || k.sent != k.end):
		return fmt.Errorf("there are no chunks, and %d of %d bytes are sent", k.sent, k.end)
	case k.first != nil && k.begin+uint64(k.first.w) <= k.free():
		return fmt.Errorf("a chunk is kept that nobody needs")
	case k.sent > k.high || k.high > k.end || k.acked > k.high:
		return fmt.Errorf("acked %d, sent %d, high %d, end %d", k.acked, k.sent, k.high, k.end)
	}
	return nil
}

// TestRetainedModel compares what is kept with all that was ever written, over random operations.
func TestRetainedModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		k := newRetained(1 << 20)
		bytesFrom := rand.NewChaCha8([32]byte{byte(seed)})
		var all []byte
		wrote := func(n int) { // a write to the carrier, of which the first n bytes went
			k.pin = k.sent
			k.high = max(k.high, k.sent+uint64(n))
			k.pin = math.MaxUint64
			k.wrote(n)
			k.release()
		}
		for step := range 500 {
			switch rnd.IntN(4) {
			case 0, 1:
				p := make([]byte, rnd.IntN(1<<rnd.IntN(18)))
				_, _ = bytesFrom.Read(p)
				k.write(p)
				all = append(all, p...)
			case 2:
				vec, n := k.unsentVec(nil, 1+rnd.IntN(300_000))
				if got := bytes.Join(vec, nil); !bytes.Equal(got, all[k.sent:k.sent+uint64(n)]) {
					t.Fatalf("seed %d, step %d: what is to be sent from %d on is wrong", seed, step, k.sent)
				}
				wrote(rnd.IntN(n + 1))
			case 3:
				k.acked = max(k.acked, k.acked+uint64(rnd.Int64N(int64(k.high-k.acked)+1)))
				k.release()
				if rnd.IntN(10) == 0 { // another carrier, and the other end may have more than it has said
					from := k.acked + uint64(rnd.Int64N(int64(k.high-k.acked)+1))
					k.acked = from
					k.seek(from)
					k.release()
				}
			}
			if err := k.check(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// FuzzHandshake parses frames that a carrier may begin with. What is parsed is encoded as it was.
func FuzzHandshake(f *testing.F) {
	master := make([]byte, macSize)
	tr := &transcript{id: sessionID{1, 2}, epoch: 3, offS: 4, offC: 5, from: 6}
	f.Add(tr.appendResume(nil))
	f.Add(tr.appendChallenge(nil, master))
	f.Add(tr.appendProof(nil, master))
	f.Add(appendRefuse(nil, refuseUnknown, nil))
	f.Add(appendRefuse(nil, refuseEnded, &SessionError{Code: 7, Reason: "so", Protocol: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []kind{kindHello, kindResume, kindChallenge, kindProof, kindRefuse} {
			h, frame, err := readHandshake(bytes.NewReader(b), k, k)
			if err != nil {
				continue
			}
			if !bytes.Equal(frame, b[:len(frame)]) {
				t.Fatalf("read %x of %x", frame, b)
			}
			payload := frame[headerSize:]
			tr, again := new(transcript), []byte(nil)
			switch k {
			case kindResume:
				if h.id != protocolID {
					continue
				}
				tr.parseResume(payload)
				again = tr.appendResume(nil)
			case kindChallenge:
				mac := tr.parseChallenge(payload)
				again = append(tr.appendChallenge(nil, master)[:headerSize+nonceSize+8], mac...)
			case kindProof:
				mac := tr.parseProof(payload)
				again = append(tr.appendProof(nil, master)[:headerSize+16], mac...)
			case kindRefuse:
				_ = parseRefuse(h, payload).Error()
				continue
			default:
				continue
			}
			if !bytes.Equal(again, frame) {
				t.Fatalf("%v: %x became %x", k, frame, again)
			}
		}
	})
}
