package mux

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
)

// Labels make every use of a hash or a key another one.
const (
	labelSession  = "virtmux resume session"
	labelMaster   = "virtmux resume master"
	labelServer   = "virtmux resume server"
	labelClient   = "virtmux resume client"
	labelExporter = "EXPORTER-virtmux-resume"
)

const (
	publicSize = 32
	nonceSize  = 32
	macSize    = sha256.Size
	keySize    = publicSize + nonceSize + 8 // payload of a key frame

	keyTLS = 1 // in the id of a key frame: my carrier is TLS
)

// A sessionID names a session that can be resumed.
type sessionID [16]byte

// An offer is what an end brings to the exchange of keys.
type offer struct {
	private  *ecdh.PrivateKey
	frame    []byte                                                         // the key frame, as it is sent
	exporter func(label string, context []byte, length int) ([]byte, error) // of a carrier that is TLS
}

// newOffer makes a key, for an end that keeps retain bytes at most.
func newOffer(c *carrier, retain int) (*offer, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("mux: make a key for resumption: %w", err)
	}
	o := &offer{private: private}
	h := header{kind: kindKey, size: keySize}
	if t, ok := c.ReadWriteCloser.(interface{ ConnectionState() tls.ConnectionState }); ok {
		h.id = keyTLS
		o.exporter = func(label string, context []byte, length int) ([]byte, error) {
			state := t.ConnectionState()
			return state.ExportKeyingMaterial(label, context, length)
		}
	}
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	o.frame = append(append(h.append(nil), private.PublicKey().Bytes()...), nonce[:]...)
	o.frame = binary.BigEndian.AppendUint64(o.frame, uint64(retain))
	return o, nil
}

// agree makes the session's name and master key of an own offer and the other end's.
func (o *offer) agree(client bool, h header, payload []byte) (id sessionID, master []byte, err error) {
	public, err := ecdh.X25519().NewPublicKey(payload[:publicSize])
	if err != nil {
		return id, nil, err
	}
	secret, err := o.private.ECDH(public)
	if err != nil {
		return id, nil, err
	}
	if o.exporter != nil && h.id&keyTLS != 0 {
		exported, err := o.exporter(labelExporter, nil, macSize)
		if err != nil {
			return id, nil, err
		}
		secret = append(secret, exported...)
	}
	first, second := o.frame, append(h.append(nil), payload...)
	if !client {
		first, second = second, first
	}
	sum := sha256.Sum256(append(append([]byte(labelSession), first...), second...))
	master, err = hkdf.Key(sha256.New, secret, sum[:], labelMaster, macSize)
	return sessionID(sum[:]), master, err
}

// A transcript is what the two ends of a resume have told each other.
type transcript struct {
	id             sessionID
	epoch          uint64
	nonceC, nonceS [nonceSize]byte
	offS           uint64 // how many bytes the server had when it challenged
	offC           uint64 // how many the client had when it switched
	from           uint64 // offset of the first byte that the client sends on the new carrier
}

// macS is the server's proof that it has the key.
func (t *transcript) macS(master []byte) []byte {
	return t.mac(master, labelServer, t.offS)
}

// macC is the client's.
func (t *transcript) macC(master []byte) []byte {
	return t.mac(master, labelClient, t.offS, t.offC, t.from)
}

func (t *transcript) mac(master []byte, label string, offsets ...uint64) []byte {
	m := hmac.New(sha256.New, master)
	m.Write([]byte(label))
	m.Write(t.id[:])
	m.Write(binary.BigEndian.AppendUint64(nil, t.epoch))
	m.Write(t.nonceC[:])
	m.Write(t.nonceS[:])
	m.Write(appendUint64s(nil, offsets...))
	return m.Sum(nil)
}
