#!/usr/bin/env python3
"""A lonet process, with a mark of life or, like older programs, without; written from docs/lonet.md alone, which the
(numbers) are sections of. stdin has commands, a JSON object a line: {"id": 1, "cmd": "dial", "src": "a", "dst": "b:7"}.
Each has a thread of its own and one line of answer on stdout: {"id": 1, "conn": 1, ...} or {"id": 1, "error": "..."}.
At the end of stdin the client dies as it would by a signal; the command leave is the orderly end.
"""

import fcntl, hashlib, json, os, random, re, socket, stat, struct, subprocess, sys, threading, time, unicodedata
from contextlib import suppress
PATIENCE = 30.0  # seconds

# Strings (4.2). Bytes that are not UTF-8 are lone surrogates here, as by surrogateescape.
STRING = rb'"((?:[^"\\\n]|\\["\\abfnrtv]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8})*)"'
REQUEST = re.compile(rb"> lonet %s dial %s %s\n" % (STRING, STRING, STRING))
REPLY = re.compile(rb"< lonet %s (connected|E) %s\n" % (STRING, STRING))


class Fail(Exception):
    """An error that a command or a request is answered with."""


def quote(s):  # what we send has no control characters (1.2)
    return '"%s"' % "".join("\\" + c if c in '"\\' else c if c.isprintable() else
                            f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in s)


def unquote(b):
    def char(m):
        return m[0].decode("unicode_escape").encode("latin-1" if m[0][1:2] == b"x" else "utf-8")
    return re.sub(rb"\\(x..|u.{4}|U.{8}|.)", char, b).decode("utf-8", "surrogateescape")


def check_name(s, error="name invalid"):  # 1.2
    if (s in ("", ".", "..") or len(quote(s).encode("utf-8", "replace")) > 255 or
            any(c in "/\\:[]%" or unicodedata.category(c) in ("Cc", "Cs") for c in s)):
        raise Fail(error)


def split_addr(s, least=1, error="address invalid"):  # 1.3
    host, _, port = s.rpartition(":")
    check_name(host, error)
    if not re.fullmatch("[0-9]{1,10}", port) or not least <= int(port) < 1 << 31:
        raise Fail(error)
    return host, int(port)


def digest(data):
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "data": data[:99].decode("utf-8", "replace")}


class Conn:
    def __init__(self, sock, patience=PATIENCE):
        sock.settimeout(patience)
        self.sock, self.file = sock, sock.makefile("rb")  # which keeps what is behind a line (4.3)

    def close(self):
        self.file.close()
        self.sock.close()


class Client:
    cond = threading.Condition()  # guards what follows
    hosts, conns = {}, []  # name → {port: the (Conn, source) that wait for Accept, or None: a connection has it}

    def cmd_join(self, network, mark):
        check_name(network)
        self.full = "lonet" + network  # 1.1
        top = os.path.join(os.environ.get("TMPDIR") or "/tmp", "lonet")  # 2.1
        self.dir = os.path.join(top, network)
        for path, mode in (top, 0o1777), (self.dir, 0o700):
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
                os.chmod(path, mode)  # 2.2
        st = os.lstat(self.dir)
        if not stat.S_ISDIR(st.st_mode) or st.st_uid != os.getuid():
            raise Fail("not a directory of this user: " + self.dir)  # 2.3
        self.db, self.mark, self.sock, others = os.path.join(self.dir, "registry.db"), None, None, []
        while not self.sock or mark and self.mark is None:  # 3.5
            others.append(self.sock)  # whose mark cannot be had: it keeps its port until another has been found
            self.sock = socket.create_server(("127.0.0.1", 0))
            self.osladdr = "127.0.0.1:%d" % self.sock.getsockname()[1]
            self.make_registry(network)
            self.mark = self.lock_mark(self.osladdr, os.O_CREAT, 0.5) if mark else None
        if mark:
            self.sql("DELETE FROM hosts WHERE osladdr = ?", self.osladdr)
        threading.Thread(target=self.serve, daemon=True).start()
        return {"osladdr": self.osladdr}

    def make_registry(self, network):
        if self.sql("SELECT count(*) AS n FROM sqlite_master WHERE name IN ('hosts', 'meta')")[0]["n"] < 2:  # 3.1
            self.sql("PRAGMA journal_mode = WAL")
            self.sql("CREATE TABLE IF NOT EXISTS hosts (hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL)")
            self.sql("CREATE TABLE IF NOT EXISTS meta (name TEXT NON NULL PRIMARY KEY, value TEXT NON NULL)")
        for key, want in ("schemaver", "lonet.1"), ("network", network):  # 3.2
            while not (rows := self.sql("SELECT value FROM meta WHERE name = ?", key)):
                self.sql("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", key, want)
            if rows[0]["value"] != want:
                raise Fail("registry: %s: want %s, have %s" % (key, want, rows[0]["value"]))
        self.stat = os.stat(self.db)

    def sql(self, text, *args, wait=10.0):
        """A single statement, autocommitted (3.8), in a shell of its own (2.4); tried again while SQLITE_BUSY (3.5)."""
        literals = iter([str(a) if isinstance(a, int) else "'" + a.replace("'", "''") + "'" for a in args])
        text = "PRAGMA synchronous = OFF;\n" + re.sub(r"\?", lambda _: next(literals), text) + ";\n"  # 3.9
        shell = ["sqlite3", "-init", "/dev/null", "-batch", "-bail", "-json", "-cmd", ".timeout 20", self.db]
        deadline = time.monotonic() + wait
        while (p := subprocess.run(shell, input=text.encode(), capture_output=True)).stderr:
            if b"is locked" not in p.stderr or time.monotonic() > deadline:
                raise Fail("sqlite3: " + p.stderr.decode().strip())
            time.sleep(random.uniform(0.001, 0.02))
        return json.loads(p.stdout or "[]")

    def mark_path(self, osladdr):  # 5.1
        return os.path.join(self.dir, osladdr.rpartition(":")[2] + ".live")

    def lock_mark(self, osladdr, flags, wait):
        """Opens and locks a mark (5.2, 5.5); the path must still lead to what is locked. None: it cannot be had."""
        path, deadline = self.mark_path(osladdr), time.monotonic() + wait
        while time.monotonic() < deadline:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
            with suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    return fd
            os.close(fd)
            time.sleep(0.005)

    def look_at_mark(self, osladdr):  # 5.3
        try:
            with open(self.mark_path(osladdr), "rb") as f:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
                fcntl.flock(f, fcntl.LOCK_UN)
                return "gone"
        except OSError as e:
            return {FileNotFoundError: "unmarked", BlockingIOError: "running"}[type(e)]

    def row(self, host):
        rows = self.sql("SELECT rowid AS id, osladdr FROM hosts WHERE hostname = ?", host)
        return rows[0] if rows else {"osladdr": None}

    def cmd_announce(self, host):
        check_name(host)
        if not os.path.samestat(os.stat(self.db), self.stat):
            raise Fail("registry replaced")  # 2.5
        if self.hosts.setdefault(host, ports := {}) is not ports:  # from here on dials are refused (3.6, 4.6)
            raise Fail("host exists")
        try:
            while not self.claim(host, self.row(host), random.getrandbits(62)):
                pass  # others were at it too (5.5)
        except BaseException:
            del self.hosts[host]
            raise

    def claim(self, host, old, rowid):
        if not old["osladdr"]:  # 3.6; older programs leave the rowid to SQLite, and name no columns
            text, args = "INSERT OR IGNORE INTO hosts VALUES (?, ?)", [host, self.osladdr]
            if self.mark is not None:
                text, args = "INSERT OR IGNORE INTO hosts (rowid, hostname, osladdr) VALUES (?, ?, ?)", [rowid] + args
            return self.sql(text + "; SELECT changes() AS n", *args)[0]["n"]
        alive, answer, mark = self.judge(host, old["osladdr"])
        if alive:
            raise Fail("host exists")
        done = self.sql("UPDATE hosts SET rowid = ?, osladdr = ? WHERE hostname = ? AND rowid = ? AND osladdr = ?; "
                        "SELECT changes() AS n", rowid, self.osladdr, host, old["id"], old["osladdr"])[0]["n"]  # 5.5
        if done and mark == "gone" and answer not in ("no such host", "silence"):
            with suppress(FileNotFoundError):
                if (fd := self.lock_mark(old["osladdr"], 0, 0.01)) is not None:
                    self.sql("DELETE FROM hosts WHERE osladdr = ?", old["osladdr"])
                    os.unlink(self.mark_path(old["osladdr"]))
                    os.close(fd)
        return done

    def judge(self, host, osladdr):  # 5.4
        before = None
        while osladdr != self.osladdr:
            answer, _, conn = self.ask(osladdr, host + ":1", host + ":0", 1.0)
            if conn:
                conn.close()
            mark, reply = self.look_at_mark(osladdr), answer in ("connected", "E")
            alive = reply or answer == "silence" and mark != "gone" or answer != "no such host" and mark == "running"
            sure = reply or answer == "silence" or (answer == "no such host") == (mark == "running")
            if sure or before == (answer, mark):
                return alive, answer, mark
            before = answer, mark
            time.sleep(0.03)
        return False, "own", None  # the row is of one that had our port before

    def cmd_withdraw(self, host):  # 3.7
        for port in list(self.hosts[host]):
            self.cmd_unlisten(host, port)
        del self.hosts[host]
        self.sql("DELETE FROM hosts WHERE hostname = ? AND osladdr = ?", host, self.osladdr)

    def cmd_leave(self):  # 5.7
        self.sock.shutdown(socket.SHUT_RDWR)
        with suppress(Fail):
            self.sql("DELETE FROM hosts WHERE osladdr = ?", self.osladdr, wait=0.02)
        if self.mark is not None:
            os.unlink(self.mark_path(self.osladdr))
        os._exit(0)  # lets go of it

    def ask(self, osladdr, src, dst, patience, payload=b"", end=False):
        """Sends a request (4.1). Tells what came of it, with which text, and the connection."""
        if not re.fullmatch(r"127\.0\.0\.1:[0-9]{1,5}", osladdr):
            raise Fail("foreign address in the registry: " + osladdr)  # 3.3
        conn = Conn(socket.socket(), patience)
        try:
            conn.sock.connect(("127.0.0.1", int(osladdr[10:])))
            request = "> lonet %s dial %s %s\n" % (quote(self.full), quote(src), quote(dst))
            conn.sock.sendall(request.encode() + payload)
            if end:
                conn.sock.shutdown(socket.SHUT_WR)
            line = conn.file.readline(1024)
            kind, text, m = "other" if line else "ended", "protocol error: invalid reply", REPLY.fullmatch(line)
            if m and unquote(m[1]) != self.full:
                text = "protocol error: network mismatch"  # 4.9: for E too
            elif m and m[2] == b"E":
                text = unquote(m[3])
                kind = "no such host" if re.fullmatch("address .*: no such host", text) else "E"
            elif m and split_addr(unquote(m[3]))[0] == split_addr(dst, 0)[0]:
                return "connected", unquote(m[3]), conn
        except ConnectionRefusedError:
            kind, text = "system", "connection refused"
        except TimeoutError:
            kind, text = "silence", "timed out"
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # 4.8: a reset
        except (OSError, Fail) as e:
            kind, text = "ended", str(e)
        conn.close()  # 4.4
        return kind, text, None

    def cmd_dial(self, src, dst, payload="", end=False, at=None, timeout=PATIENCE):
        """Dials from a host of ours. at: an osladdr as if remembered (4.10), but with no second look."""
        at = at or self.row(split_addr(dst, 0)[0])["osladdr"]
        if not at:
            raise Fail("address %s: no such host" % dst)
        port = self.take_port(src)
        kind, text, conn = self.ask(at, "%s:%d" % (src, port), dst, timeout, payload.encode(), end)
        if conn:
            return self.keep(conn, src, port, text)
        del self.hosts[src][port]
        gone = kind in ("system", "ended") and self.look_at_mark(at) != "running"  # 5.6
        raise Fail("process gone: connection refused" if gone else text)

    def take_port(self, host, port=0, what=None):
        with self.cond:
            port = port or next(p for p in range(1, 1 << 31) if p not in self.hosts[host])  # the lowest free one (4.5)
            if self.hosts[host].setdefault(port, what) is not what:
                raise Fail("port in use")
            return port

    def keep(self, conn, host, port, remote):
        conn.sock.settimeout(PATIENCE)
        conn.host, conn.port = host, port
        self.conns.append(conn)
        return {"conn": self.conns.index(conn), "local": "%s:%d" % (host, port), "remote": remote}

    def serve(self):
        with suppress(OSError):  # by leave
            while True:
                conn = Conn(self.sock.accept()[0], 10.0)  # 4.7
                threading.Thread(target=self.request, args=(conn,), daemon=True).start()

    def request(self, conn):
        with suppress(OSError):
            line = conn.file.readline(1024)
            try:
                if line[-1:] == b"\n" or len(line) == 1024:
                    return self.check(conn, REQUEST.fullmatch(line))
            except Fail as e:
                self.reply(conn, "E", str(e))
        conn.close()  # 4.4

    def check(self, conn, m):  # 4.5
        if not m:
            raise Fail("protocol error: invalid dial request")
        network, src, dst = map(unquote, m.groups())
        if network != self.full:
            raise Fail("protocol error: network mismatch")
        split_addr(src, 0, "protocol error: src address invalid")  # 5.4: who judges a row may ask from port 0
        host, port = split_addr(dst, 0, "protocol error: dst address invalid")
        with self.cond:
            if host not in self.hosts:
                raise Fail("address %s: no such host" % dst)
            waiting = self.hosts[host].get(port)
            if waiting is None or len(waiting) >= 128:
                raise Fail("connection refused")
            waiting.append((conn, src))
            self.cond.notify_all()

    def reply(self, conn, what, text, payload=""):
        conn.sock.sendall(("< lonet %s %s %s\n" % (quote(self.full), what, quote(text)) + payload).encode())
        if what == "E":
            conn.sock.shutdown(socket.SHUT_WR)
            while conn.sock.recv(65536):  # to close with payload unread resets: the dialler could lose the reply
                pass

    def cmd_listen(self, host, port=0):
        return {"port": self.take_port(host, port, [])}

    def cmd_unlisten(self, host, port):
        with self.cond:
            waiting = self.hosts[host].pop(port) or []
            self.cond.notify_all()
        for conn, _ in waiting:
            with suppress(OSError):
                self.reply(conn, "E", "connection refused")
            conn.close()

    def cmd_accept(self, host, port, payload="", timeout=PATIENCE):
        with self.cond:
            waiting = self.hosts[host][port]
            closed = lambda: self.hosts.get(host, {}).get(port) is not waiting
            while self.cond.wait_for(lambda: waiting or closed(), timeout) and waiting:
                (conn, src), local = waiting.pop(0), self.take_port(host)
                with suppress(OSError):  # the dial was given up by a reset: it must not come out of here (4.8)
                    self.reply(conn, "connected", "%s:%d" % (host, local), payload)
                    return self.keep(conn, host, local, src)
                del self.hosts[host][local]
                conn.close()
        raise Fail("listener closed" if closed() else "timed out")

    def cmd_send(self, conn, data="", size=0, end=False):
        data = data.encode() or os.urandom(size)
        self.conns[conn].sock.sendall(data)
        if end:
            self.conns[conn].sock.shutdown(socket.SHUT_WR)
        return digest(data)

    def cmd_recv(self, conn, size=-1):  # -1: up to the end
        return digest(self.conns[conn].file.read(size))

    def cmd_close(self, conn):
        c = self.conns[conn]
        c.close()
        self.hosts.get(c.host, {}).pop(c.port, None)


def run(id, cmd, **args):
    try:
        answer = getattr(client, "cmd_" + cmd)(**args) or {}
    except Exception as e:
        answer = {"error": str(e) if isinstance(e, Fail) else repr(e)}
    os.write(1, (json.dumps({"id": id, **answer}) + "\n").encode())  # short enough to be one write to a pipe


client = Client()
for command in sys.stdin:
    threading.Thread(target=run, kwargs=json.loads(command), daemon=True).start()
os._exit(0)
