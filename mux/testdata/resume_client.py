"""A client of a resumable session, written from docs/mux.md alone; the numbers in comments are its sections.

    python3 resume_client.py PORT BYTES MOVES

It opens a stream to a server that sends back what it gets, sends BYTES bytes there and their end, and reads as many. When its
connection is lost it resumes the session over another; MOVES times it does so although the connection works.
What it prints last is the number of bytes that came, their SHA-256, and how often it has resumed.
"""

import hashlib
import hmac
import os
import select
import socket
import struct
import sys

HELLO, OPEN, DATA, RESET, STOP, CREDIT, LIMIT, STREAMS, PING, PONG, GOAWAY, CLOSE = range(1, 13)
KEY, ACK, RESUME, CHALLENGE, PROOF, REFUSE = range(13, 19)
FLAG = 0x80
VERSION = int.from_bytes(b"virtmux\x01", "big")
WINDOW, SESSION_WINDOW, RETAIN = 64 << 10, 1 << 20, 256 << 10


def u64(*values):
    return struct.pack(">%dQ" % len(values), *values)


def frame(kind, ident, payload=b""):
    return bytes([kind]) + len(payload).to_bytes(3, "big") + u64(ident) + payload


def x25519(scalar, point):
    """RFC 7748, section 5: the Montgomery ladder."""
    p = 2**255 - 19
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(point, "little") % 2**255 % p
    x2, z2, x3, z3 = 1, 0, u, 1
    for t in reversed(range(255)):
        bit = k >> t & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % p, u * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, e * (aa + 121665 * e) % p
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def hkdf(secret, salt, info):
    """RFC 5869, for 32 bytes, which one block of SHA-256 has."""
    prk = hmac.digest(salt, secret, "sha256")
    return hmac.digest(prk, info + b"\x01", "sha256")


def receive(conn, n):
    got = b""
    while len(got) < n:
        more = conn.recv(n - len(got))
        if not more:
            raise ConnectionError("the connection has ended in a handshake")
        got += more
    return got


class Session:
    def __init__(self, port):
        self.address = "127.0.0.1", port
        self.conn = socket.create_connection(self.address)
        self.resumes = self.epoch = 0
        # What is sent and not acknowledged is kept; it begins at this offset. (7.5)
        self.kept, self.begin, self.sent = bytearray(), 0, 0
        # What has come, of which not all is a frame yet. (7.2)
        self.received, self.got = 0, bytearray()
        self.told = self.of_acks = self.deserving = 0  # for acks (7.4)
        self.every = 0
        self.master = None
        self.private = os.urandom(32)
        # The stream (2) and its limits (3).
        self.may_send, self.may_send_all, self.sent_data = WINDOW, 1 << 20, 0
        self.allowed, self.allowed_all = WINDOW, SESSION_WINDOW
        self.data, self.ended, self.closed = bytearray(), False, False
        self.send(frame(HELLO, VERSION, u64(1, WINDOW, 2, SESSION_WINDOW, 3, 16, 4, 1)))
        base = bytes([9]) + bytes(31)
        self.key = frame(KEY, 0, x25519(self.private, base) + os.urandom(32) + u64(RETAIN))
        self.send(self.key)

    def send(self, b):
        self.kept += b

    def agree(self, key):
        """Makes the keys, of the other's key frame. (7.3)"""
        digest = hashlib.sha256(b"virtmux resume session" + self.key + key).digest()
        self.id = digest[:16]
        self.master = hkdf(x25519(self.private, key[12:44]), digest, b"virtmux resume master")
        retain = int.from_bytes(key[76:84], "big")
        self.every = max(16 << 10, min(retain // 4, 128 << 10))

    def mac(self, label, *numbers):
        text = label + self.id + u64(self.epoch) + self.nonce_c + self.nonce_s + u64(*numbers)
        return hmac.digest(self.master, text, "sha256")

    def resume(self):
        while True:
            try:
                return self.attempt()
            except ConnectionError:
                pass

    def attempt(self):
        """Goes on over another connection. (7.6, 7.7)"""
        conn = socket.create_connection(self.address)
        conn.settimeout(10)
        self.epoch += 1
        self.nonce_c = os.urandom(32)
        conn.sendall(frame(RESUME, VERSION, self.id + u64(self.epoch) + self.nonce_c))
        header = receive(conn, 12)
        if header[0] == REFUSE:
            raise SystemExit("refused, code %d" % int.from_bytes(header[4:], "big"))
        if header != frame(CHALLENGE, 0, bytes(72))[:12]:
            raise SystemExit("no challenge: %r" % header)
        payload = receive(conn, 72)
        self.nonce_s, off_s = payload[:32], int.from_bytes(payload[32:40], "big")
        if not hmac.compare_digest(payload[40:], self.mac(b"virtmux resume server", off_s)):
            raise SystemExit("the server's MAC is wrong")
        self.conn.close()
        at = max(off_s, self.begin)
        conn.sendall(frame(PROOF, 0, u64(self.received, at) +
                           self.mac(b"virtmux resume client", off_s, self.received, at)))
        self.conn, self.sent = conn, at
        self.resumes += 1

    def step(self, wait):
        """Writes and reads what the connection takes and has, and resumes the session if it has failed."""
        try:
            unsent = self.kept[self.sent - self.begin:]
            readable, writable, _ = select.select([self.conn], [self.conn] if unsent else [], [], wait)
            if writable:
                self.conn.setblocking(False)
                try:
                    self.sent += self.conn.send(unsent)
                except BlockingIOError:
                    pass
                self.conn.setblocking(True)
            if readable:
                more = self.conn.recv(64 << 10)
                if not more:
                    raise ConnectionError("the connection has ended")
                self.received += len(more)
                self.got += more
                self.frames()
        except ConnectionError as e:
            if self.closed:
                return False
            if self.master is None:
                raise SystemExit("lost before there were keys: %s" % e)
            self.resume()
            return True
        self.acknowledge(not readable)
        return True

    def acknowledge(self, rest):
        owed = self.received - self.of_acks > self.deserving
        if self.every and (self.received - self.told >= self.every or rest and owed):
            self.told, self.deserving = self.received, self.received - self.of_acks
            self.send(frame(ACK, self.received))

    def frames(self):
        while len(self.got) >= 12:
            size = 12 + int.from_bytes(self.got[1:4], "big")
            if len(self.got) < size:
                return
            f, self.got = bytes(self.got[:size]), self.got[size:]
            self.frame(f[0] & ~FLAG, f[0] & FLAG, int.from_bytes(f[4:12], "big"), f)

    def frame(self, kind, flag, ident, f):
        payload = f[12:]
        if kind == HELLO:
            settings = struct.unpack(">%dQ" % (len(payload) // 8), payload)
            settings = dict(zip(settings[::2], settings[1::2]))
            if ident != VERSION or settings.get(4) != 1:
                raise SystemExit("hello of another protocol, or of none that resumes")
            self.may_send = max(self.may_send, settings[1])
            self.may_send_all = max(self.may_send_all, settings[2])
        elif kind == KEY:
            self.agree(f)
        elif kind == ACK:
            if ident > self.begin:
                del self.kept[:ident - self.begin]
                self.begin = ident
        elif kind == DATA:
            self.data += payload
            self.ended = bool(flag)
            self.give_credit()
        elif kind == CREDIT:
            self.may_send = max(self.may_send, int.from_bytes(payload, "big"))
        elif kind == LIMIT:
            self.may_send_all = max(self.may_send_all, ident)
        elif kind == PING:
            self.send(frame(PONG, ident))
        elif kind not in (STREAMS, PONG, GOAWAY):
            raise SystemExit("unexpected frame: %r" % f)

    def give_credit(self):
        if len(self.data) + WINDOW // 2 >= self.allowed:
            self.allowed = len(self.data) + WINDOW
            self.send(frame(CREDIT, 1, u64(self.allowed)))
        if len(self.data) + SESSION_WINDOW // 2 >= self.allowed_all:
            self.allowed_all = len(self.data) + SESSION_WINDOW
            self.send(frame(LIMIT, self.allowed_all))

    def write(self, b):
        """Sends as much of b on stream 1 as may be sent now. (3.2, 3.3, 7.5)"""
        n = min(len(b), self.may_send - self.sent_data, self.may_send_all - self.sent_data, 64 << 10)
        if len(self.kept) >= RETAIN or n <= 0 or self.master is None:  # could be sent before, but not resumed
            return 0
        self.send(frame(DATA, 1, b[:n]))
        self.sent_data += n
        return n


def main(port, size, moves):
    s = Session(port)
    s.send(frame(OPEN, 1))
    text = memoryview(bytes(range(251)) * (size // 251 + 1))[:size]
    moved = 0
    finished = False
    while not s.ended:
        if moved < moves and s.master and len(s.data) >= size * (moved + 1) // (moves + 2):
            moved += 1
            s.resume()
        text = text[s.write(bytes(text[:64 << 10])):]
        if not text and not finished:
            finished = True
            s.send(frame(DATA | FLAG, 1))
        s.step(0.01)
    got = bytes(s.data)
    s.send(frame(CLOSE, 0))
    s.closed = True
    while s.step(0.01):  # until the server has closed the connection, having read that
        pass
    print(len(got), hashlib.sha256(got).hexdigest(), s.resumes)


main(*(int(a) for a in sys.argv[1:]))
