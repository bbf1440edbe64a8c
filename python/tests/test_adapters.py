"""http.server, http.client, socketserver, wsgiref and asyncio on a network."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import logging
import os
import socket
import socketserver
import time
import unittest
import urllib.request
import wsgiref.simple_server
from typing import Any, Callable, Iterable

from support import PATIENCE, Call, TestCase, eventually, payload

import lonet


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass


class HTTPTest(TestCase):
    def serve(self, server: socketserver.TCPServer) -> None:
        serving = Call(server.serve_forever, 0.02)

        def stop() -> None:
            server.shutdown()
            serving.wait()
            server.server_close()

        self.addCleanup(stop)

    def test_http(self) -> None:
        a, b = self.pair()
        with open(os.path.join(self.temp, "page"), "wb") as f:
            f.write(payload(300_000))

        class Handler(QuietHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=directory)

        directory = self.temp
        for kind in (http.server.HTTPServer, http.server.ThreadingHTTPServer):
            with self.subTest(kind.__name__):
                listener = b.listen(f":{80 if kind is http.server.HTTPServer else 81}")
                server = lonet.make_server(kind, listener, Handler)
                self.assertEqual(server.server_address, ("β", listener.addr().port))
                self.assertEqual((server.server_name, server.server_port), ("β", listener.addr().port))
                self.serve(server)
                conn = lonet.HTTPConnection(a, str(listener.addr()), timeout=10)
                for _ in range(3):  # on one connection
                    conn.request("GET", "/page")
                    response = conn.getresponse()
                    self.assertEqual((response.status, response.read()), (200, payload(300_000)))
                conn.request("GET", "/nothing", headers={"Connection": "close"})
                response = conn.getresponse()
                self.assertEqual(response.status, 404)
                self.assertIn(b"404", response.read())  # though the connection is closed
                conn.close()

    def test_client_closes(self) -> None:
        """The client is a context manager, as all else is."""
        a, b = self.pair()
        listener = b.listen(":80")
        with lonet.HTTPConnection(a, "β", timeout=10) as conn:
            accepting = Call(listener.accept)
            conn.request("GET", "/")
            accepting.wait().close()
        self.assertIsNone(conn.sock)
        self.wants_free(a, 1)

    def test_client_errors(self) -> None:
        a = self.host(0, "α")
        for address, kind in (("α:80", ConnectionRefusedError), ("γ", socket.gaierror)):
            conn = lonet.HTTPConnection(a, address)
            with self.assertRaises(kind):
                conn.request("GET", "/")
        listener = a.listen(":80")
        conn = lonet.HTTPConnection(a, "α", timeout=0.05)
        with self.assertRaises(TimeoutError):
            conn.request("GET", "/")
        conn = lonet.HTTPConnection(a, "α", timeout=0.2)
        accepting = Call(listener.accept)
        conn.request("GET", "/")
        with self.assertRaises(TimeoutError):
            conn.getresponse()
        conn.close()
        accepting.wait().close()

    def test_any_client(self) -> None:
        """http.client works on a connection that is given to it."""
        a, b = self.pair()
        listener = b.listen(":80")
        self.serve(lonet.make_server(http.server.ThreadingHTTPServer, listener, QuietHandler))
        conn = http.client.HTTPConnection("β")
        conn.sock = a.dial("β:80")
        conn.request("HEAD", "/")
        self.assertEqual(conn.getresponse().status, 200)
        conn.close()

    def test_urllib(self) -> None:
        a, b = self.host(0, "α"), self.host(1, "beta")
        listener = b.listen(":80")
        self.serve(lonet.make_server(http.server.ThreadingHTTPServer, listener, QuietHandler))

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
                def connection(host: str, timeout: float = 10, **_: Any) -> lonet.HTTPConnection:
                    return lonet.HTTPConnection(a, host, timeout)

                return self.do_open(connection, req)  # type: ignore[arg-type]

        with urllib.request.build_opener(Handler).open("http://beta/", timeout=10) as response:
            self.assertEqual(response.status, 200)

    def test_wsgi(self) -> None:
        a, b = self.pair()

        def app(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"{environ['SERVER_NAME']} {environ['REMOTE_ADDR']}".encode()]

        class Handler(wsgiref.simple_server.WSGIRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

        server = lonet.make_server(wsgiref.simple_server.WSGIServer, b.listen(":80"), Handler)
        server.set_app(app)
        self.serve(server)
        conn = lonet.HTTPConnection(a, "β", 10)
        conn.request("GET", "/")
        self.assertEqual(conn.getresponse().read().decode(), "β α")
        conn.close()


class SocketserverTest(TestCase):
    def test_socketserver(self) -> None:
        a, b = self.pair()
        seen = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                seen.append(self.client_address)
                for line in self.rfile:
                    self.wfile.write(line.upper())

        for kind in (socketserver.TCPServer, socketserver.ThreadingTCPServer):
            with self.subTest(kind.__name__):
                with lonet.make_server(kind, b.listen(":7"), Handler) as server:
                    for i in range(3):
                        serving = Call(server.handle_request)
                        with a.dial("β:7", 10) as c:
                            with c.makefile("rw") as f:
                                f.write("line\n")
                                f.flush()
                                self.assertEqual(f.readline(), "LINE\n")
                        serving.wait()
                    server.timeout = 0.05
                    start = time.monotonic()
                    server.handle_request()
                    self.assertLess(time.monotonic() - start, 20)
                self.wants_free(b, 1)
        self.assertEqual(seen, [("α", 1)] * 6)

    def test_serve_forever(self) -> None:
        a, b = self.pair()
        server = lonet.make_server(socketserver.ThreadingTCPServer, b.listen(":7"), EchoHandler)
        serving = Call(server.serve_forever, 0.05)
        for _ in range(3):
            with a.dial("β:7", 10) as c:
                c.sendall(b"x")
                self.assertEqual(c.recv(1), b"x")
        server.shutdown()
        serving.wait()
        server.server_close()
        self.wants(lonet.ErrConnRefused, lambda: a.dial("β:7", 5))


class EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while True:
            data = self.request.recv(100)
            if not data:
                return
            self.request.sendall(data)


class AsyncioTest(TestCase):
    def run_async(self, main: Any) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(main(), PATIENCE)

        return asyncio.run(limited())

    def test_streams(self) -> None:
        """asyncio serves on a listener, and connects on a connection."""
        a, b = self.pair()

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append((writer.get_extra_info("peername"), writer.get_extra_info("sockname")))
            while True:
                data = await reader.read(1 << 16)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        peers: list[Any] = []
        data = payload(1 << 20)

        async def client() -> bytes:
            conn = await asyncio.get_running_loop().run_in_executor(None, a.dial, "β:1", 10)
            reader, writer = await asyncio.open_connection(sock=conn)

            async def send() -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            sending = asyncio.ensure_future(send())
            got = await reader.read()
            await sending
            writer.close()
            await writer.wait_closed()
            return got

        async def main() -> None:
            server = await asyncio.start_server(echo, sock=b.listen(":1").socket())
            self.assertEqual(server.sockets[0].getsockname(), ("β", 1))
            async with server:
                for got in await asyncio.gather(*(client() for _ in range(5))):
                    self.assertEqual(got, data)

        self.run_async(main)
        self.assertEqual(len(peers), 5)
        self.assertEqual({peer[0] for peer, _ in peers}, {"α"})
        self.assertEqual({own[0] for _, own in peers}, {"β"})
        self.wants_free(b, 1)
        self.wants_free(a, 1)

    def test_sock_calls(self) -> None:
        """The loop's own calls on sockets work on connections, and on a listener by its descriptor."""
        a, b = self.pair()
        listener = b.listen(":1")
        listener.setblocking(False)
        self.addCleanup(listener.close)

        async def accept() -> lonet.Conn:
            loop = asyncio.get_running_loop()
            while True:
                try:
                    return listener.accept()
                except BlockingIOError:
                    ready = loop.create_future()
                    loop.add_reader(listener, ready.set_result, None)
                    await ready
                    loop.remove_reader(listener)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            dialling = loop.run_in_executor(None, a.dial, "β:1", 10)
            with await accept() as d, await dialling as c:
                c.setblocking(False)
                d.setblocking(False)
                await loop.sock_sendall(c, b"ping")
                self.assertEqual(await loop.sock_recv(d, 10), b"ping")
                buffer = bytearray(4)
                await loop.sock_sendall(d, b"pong")
                self.assertEqual(await loop.sock_recv_into(c, buffer), 4)
                self.assertEqual(buffer, b"pong")
                with open(os.path.join(self.temp, "f"), "wb+") as f:
                    f.write(b"file")
                    f.flush()
                    self.assertEqual(await loop.sock_sendfile(c, f, 0), 4)
                self.assertEqual(await loop.sock_recv(d, 10), b"file")

        self.run_async(main)

    def test_host_closes(self) -> None:
        """A transport ends when its host is closed, by another thread too."""
        a, b = self.pair()
        listener = b.listen(":1")
        lost: list[Any] = []

        class Protocol(asyncio.Protocol):
            def connection_lost(self, exc: Any) -> None:
                lost.append(exc)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            c, d = await loop.run_in_executor(None, self.connect, a, listener)
            await loop.connect_accepted_socket(Protocol, d)
            await loop.run_in_executor(None, b.close)
            while not lost:
                await asyncio.sleep(0.005)

        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self.run_async(main)
        self.assertIsInstance(lost[0], lonet.ErrHostDown)

    def test_server_goes_on(self) -> None:
        """Threads may be in accept at other listeners while an event loop waits for one."""
        a, b = self.pair()
        blocking = b.listen(":2")
        accepting = Call(blocking.accept)

        async def main() -> None:
            async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"hello")
                writer.close()

            async with await asyncio.start_server(hello, sock=b.listen(":1").socket()):
                for _ in range(3):
                    conn = await asyncio.get_running_loop().run_in_executor(None, a.dial, "β:1", 10)
                    reader, writer = await asyncio.open_connection(sock=conn)
                    self.assertEqual(await reader.read(), b"hello")
                    writer.close()

        self.run_async(main)
        with a.dial("β:2", 10) as c, accepting.wait() as d:
            self.ping(c, d)
        eventually("it is not driven for descriptors any more", lambda: b._net._engine._prompt == 0)


if __name__ == "__main__":
    unittest.main()
