package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// The messages of SOCKS5 as far as a proxy that only connects needs them (RFC 1928). Nothing is read beyond a message:
// what follows may be the client's data.
//
//	> 5 n method*n                        the greeting, whose first byte the proxy has read to know that it is SOCKS
//	< 5 method
//	> 5 command 0 type address port       the request
//	< 5 code 0 1 0 0 0 0 0 0              the reply

const (
	methodNone       = 0x00 // no authentication
	methodNoneOfThem = 0xff

	commandConnect = 1

	typeIPv4 = 1
	typeName = 3
	typeIPv6 = 4
)

// A replyCode is how a request went.
type replyCode byte

const (
	replyOK         replyCode = 0
	replyFailure    replyCode = 1 // "general SOCKS server failure"
	replyNoHost     replyCode = 4 // "host unreachable"
	replyRefused    replyCode = 5 // "connection refused"
	replyTimeout    replyCode = 6 // "TTL expired", which is how proxies say that nobody answered
	replyNoCommand  replyCode = 7 // "command not supported"
	replyNoAddrType replyCode = 8 // "address type not supported"
)

// A socksError is what is wrong with what a client says, and how it is told.
type socksError struct {
	answer []byte
	text   string
}

func (e *socksError) Error() string { return e.text }

// badRequest returns a *socksError with that reply.
func badRequest(code replyCode, format string, args ...any) error {
	return &socksError{reply(code), fmt.Sprintf(format, args...)}
}

// readGreeting reads the greeting behind its first byte. The error is a *socksError, or that of r.
func readGreeting(r io.Reader) error {
	var buf [255]byte
	if _, err := io.ReadFull(r, buf[:1]); err != nil {
		return err
	}
	methods := buf[:buf[0]]
	if _, err := io.ReadFull(r, methods); err != nil {
		return err
	}
	if !slices.Contains(methods, methodNone) {
		return &socksError{[]byte{socks5, methodNoneOfThem}, "the client insists on authentication, of which there is none"}
	}
	return nil
}

// A socksRequest is where a client wants to be connected to.
type socksRequest struct {
	host string // a name as it came, or an IP address
	port uint16
	isIP bool // the client has resolved a name, or had none
}

// readRequest reads the request. The error is a *socksError, or that of r.
func readRequest(r io.Reader) (socksRequest, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return socksRequest{}, err
	}
	if head[0] != socks5 {
		return socksRequest{}, badRequest(replyFailure, "a SOCKS request of version %d", head[0])
	}
	var req socksRequest
	var err error
	switch head[3] {
	case typeName:
		req.host, err = readName(r)
	case typeIPv4:
		req.host, err = readIP(r, 4)
		req.isIP = true
	case typeIPv6:
		req.host, err = readIP(r, 16)
		req.isIP = true
	default:
		err = badRequest(replyNoAddrType, "SOCKS address type %d is unknown", head[3])
	}
	if err != nil {
		return socksRequest{}, err
	}
	var port [2]byte
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return socksRequest{}, err
	}
	req.port = binary.BigEndian.Uint16(port[:])
	switch {
	case head[1] != commandConnect: // BIND, or UDP ASSOCIATE
		err = badRequest(replyNoCommand, "SOCKS command %d is not supported: only CONNECT is", head[1])
	case req.host == "":
		err = badRequest(replyNoHost, "a SOCKS request without a host name")
	case req.port == 0:
		err = badRequest(replyRefused, "port 0 of %s: nobody ever listens there", req.host)
	}
	return req, err
}

func readName(r io.Reader) (string, error) {
	var buf [255]byte
	if _, err := io.ReadFull(r, buf[:1]); err != nil {
		return "", err
	}
	name := buf[:buf[0]]
	_, err := io.ReadFull(r, name)
	return string(name), err
}

func readIP(r io.Reader, size int) (string, error) {
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		return "", err
	}
	ip, _ := netip.AddrFromSlice(buf)
	return ip.String(), nil
}

// reply returns the answer to a request. The address that it has room for is not told: a virtual one does not fit.
func reply(code replyCode) []byte {
	return []byte{socks5, byte(code), 0, typeIPv4, 0, 0, 0, 0, 0, 0}
}
