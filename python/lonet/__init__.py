"""lonet is a virtual network of several processes on one machine.

Each process joins the network by its name and has a sub-network with hosts of its own; any host can dial any other, by
its name, at ports of its own. Connections are loopback TCP: after a handshake of one line each way they are the users',
byte for byte. Programs in Go and in Python share a network.

    with lonet.join("t") as net:
        host = net.new_host("α")
        listener = host.listen(":80")
        conn = listener.accept()

and in another process

    with lonet.join("t") as net:
        host = net.new_host("β")
        conn = host.dial("α:80")

The hosts of a network are in an SQLite database, <temp dir>/lonet/<network>/registry.db. A host's name belongs to its
process as long as that lives: it is free at once when the host or sub-network is closed, or when the process dies,
however it dies. docs/lonet.md has the formats and the protocol.

There is no authentication between the processes of one machine: whoever can connect to 127.0.0.1 can dial the hosts.
Only the user who made a network can join it.
"""

from .adapters import HTTPConnection, make_server
from .addr import Addr
from .bsd import ListeningSocket
from .conn import Conn
from .errors import (
    ErrAddrAlreadyUsed,
    ErrAddrNoListen,
    ErrConnRefused,
    ErrDown,
    ErrHostDown,
    ErrHostDup,
    ErrInvalid,
    ErrNetDown,
    ErrNoHost,
    ErrSockDown,
    ErrTimeout,
    OpError,
)
from .host import Host
from .listener import Listener
from .subnet import SubNetwork, join

__version__ = "0.1.0"

__all__ = [
    "Addr",
    "Conn",
    "ErrAddrAlreadyUsed",
    "ErrAddrNoListen",
    "ErrConnRefused",
    "ErrDown",
    "ErrHostDown",
    "ErrHostDup",
    "ErrInvalid",
    "ErrNetDown",
    "ErrNoHost",
    "ErrSockDown",
    "ErrTimeout",
    "HTTPConnection",
    "Host",
    "Listener",
    "ListeningSocket",
    "OpError",
    "SubNetwork",
    "join",
    "make_server",
]
