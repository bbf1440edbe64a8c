package astranet

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/iotest"
)

// What a stream begins with is read as it was written, however it is cut, and nothing else is taken for a request.
func FuzzReadRequest(f *testing.F) {
	f.Add(request{70, 1 << 24, "svc"}.append(nil), true)
	f.Add(request{}.append(nil), false)
	f.Add([]byte{kindDial, requestFixed - 1}, false)
	f.Add([]byte{9, 255}, true)
	f.Fuzz(func(t *testing.T, b []byte, cut bool) {
		var r io.Reader = bytes.NewReader(b)
		if cut {
			r = iotest.OneByteReader(r)
		}
		q, code, err := readRequest(r)
		switch {
		case err != nil:
			if len(b) >= 2 && len(b) >= 2+int(b[1]) {
				t.Errorf("%x: %v", b, err)
			}
		case code != codeAccepted:
			if b[0] == kindDial && b[1] >= requestFixed {
				t.Errorf("%x: code %d", b, code)
			}
		case !bytes.HasPrefix(b, q.append(nil)):
			t.Errorf("%x is read as %+v", b, q)
		}
	})
}

// An answer is read as it was written, reasons of any length are bounded, and their text can be printed.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte{codeAccepted})
	f.Add([]byte{codeRefused, 0, 2, 'n', 'o'})
	f.Add([]byte{codeDenied, 255, 255})
	f.Add([]byte{200, 0, 3, 0x1b, '[', 'm'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readAnswer(bytes.NewReader(b))
		if err != nil {
			return
		}
		if r.code != b[0] || len(r.reason) > maxReason {
			t.Errorf("%x is read as %+v", b, r)
		}
		text := (&NodeError{Host: 1, Err: r.err(), Reason: r.reason}).Error()
		if !isPrintable(text) {
			t.Errorf("%q cannot be printed", text)
		}
	})
}

// Control messages of any kind change the registry by what they say, and nothing else.
func FuzzControl(f *testing.F) {
	instance := func(what byte, port uint32, name string) []byte {
		b := binary.BigEndian.AppendUint32([]byte{what}, port)
		return append(append(b, byte(len(name))), name...)
	}
	message := func(kind byte, payload ...[]byte) []byte {
		b := bytes.Join(payload, nil)
		return append(binary.BigEndian.AppendUint32(nil, uint32(kind)<<24|uint32(len(b))), b...)
	}
	f.Add(message(msgServices, instance(1, 70, "svc"), instance(1, 71, "svc"), instance(0, 70, "svc")))
	f.Add(append(message(msgCall), message(9, []byte("later"))...))
	f.Add(message(msgServices, instance(1, 70, "a:b"), instance(2, 70, "")))
	f.Add(append(message(msgServices, instance(1, 70, "svc")), message(msgAll)...))
	f.Add([]byte{msgServices, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := newNode(settings{Config: Config{ID: 2}})
		_ = n.start()
		defer n.Close()
		n.services.add(ServiceId{Service: "own", Host: 2, Port: 1})
		p := n.peerLocked(1, "")
		l := &link{node: n, peer: p, up: true, news: make(map[ServiceId]bool), known: make(map[ServiceId]struct{})}
		l.wake.L = &n.mu
		p.links = []*link{l}
		if err := l.listen(bytes.NewReader(b)); err == nil {
			t.Error("no error at the end")
		}
		all := n.services.All()
		if len(all) != len(p.services)+1 {
			t.Errorf("%v are known of %v", all, p.services)
		}
		for _, s := range all {
			if _, known := p.services[s]; !known && s.Service != "own" || checkService(s.Service) != nil || s.Service == "" {
				t.Errorf("there is %v", s)
			}
		}
		p.links = nil
	})
}

// What is not an address is refused, and what is comes apart as it was put together.
func FuzzSplitPort(f *testing.F) {
	f.Add("svc:70")
	f.Add("a:b:")
	f.Add(":")
	f.Fuzz(func(t *testing.T, hp string) {
		name, port, has, err := splitPort(hp)
		if err != nil {
			if _, ok := err.(*net.AddrError); !ok {
				t.Errorf("%v is no *net.AddrError", err)
			}
			return
		}
		if !has && name != hp || has && len(name) >= len(hp) || !has && port != 0 {
			t.Errorf("%q is %q, %d, %v", hp, name, port, has)
		}
	})
}
