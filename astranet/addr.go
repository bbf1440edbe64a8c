package astranet

import (
	"encoding/base64"
	"encoding/binary"
	"net"
	"strconv"
)

// Addr is the address of a listener or of an end of a connection. It is a net.Addr.
type Addr struct {
	Net  string // the network argument of the Dial or Bind that it comes from
	Host uint64 // id of the node
	Port uint32 // port on the node
	Node string // the node's name, as its certificate has it; empty without Credentials
}

var _ net.Addr = (*Addr)(nil)

// Network returns the network argument of the Dial or Bind that the address comes from.
func (a *Addr) Network() string { return a.Net }

// String returns "host:port", the host as [HostName] has it.
func (a *Addr) String() string {
	return HostName(a.Host) + ":" + strconv.FormatUint(uint64(a.Port), 10)
}

// hostEncoding is strict: of the texts that a lenient decoder takes for one id, one is its name.
var hostEncoding = base64.RawURLEncoding.Strict()

// HostName returns a node's id as text: its 8 bytes, big-endian, in URL-safe base64 without padding, 11 characters.
func HostName(id uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	return hostEncoding.EncodeToString(b[:])
}

// ParseHostName returns the id whose HostName the text is. ok tells whether it is one.
func ParseHostName(text string) (id uint64, ok bool) {
	if len(text) != 11 {
		return 0, false
	}
	var b [8]byte
	if n, err := hostEncoding.Decode(b[:], []byte(text)); err != nil || n != len(b) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[:]), true
}

// splitPort splits "name:port" or "name". has tells whether there is a port.
func splitPort(hp string) (name string, port uint32, has bool, err error) {
	i := len(hp) - 1
	for i >= 0 && hp[i] != ':' {
		i--
	}
	if i < 0 {
		return hp, 0, false, nil
	}
	p, err := strconv.ParseUint(hp[i+1:], 10, 32)
	if err != nil {
		return "", 0, false, &net.AddrError{Err: "invalid port", Addr: hp}
	}
	return hp[:i], uint32(p), true, nil
}
