package astranet

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// AstraNet is a node of the mesh. Its methods are safe for concurrent use. A node starts with the first call that needs it,
// and runs until Close.
//
// New, Client, Server, Router, WithEnv and WithLoopBack each return a fresh node, that has not started, and shares
// the settings and nothing else.
type AstraNet interface {
	// Dial connects to hp within 10 s; see DialContext.
	Dial(network, hp string) (net.Conn, error)
	// DialTimeout connects to hp within t; 0 means 10 s. See DialContext.
	DialTimeout(network, hp string, t time.Duration) (net.Conn, error)
	// DialContext connects to hp: "service", any instance of the service in the node's environment; "service:port", the one at that
	// port; or "host:port", a port of the node with that id, as [HostName] has it. It waits until there is such a service,
	// and until an Accept has taken the connection.
	//
	// The network selects among several instances: "registry://key" takes the same for the same key while it lives, on
	// every client alike; "vport2registry" takes the port of hp for the key, and not for the instance's port; anything
	// else, such as "" or "tcp", takes any, at random.
	//
	// The error is a *net.OpError whose Err is a *[NodeError] with ErrNoService, ErrNoRoute, ErrRefused, ErrDenied or the
	// context's error; a *net.AddrError; or ErrNodeClosed.
	DialContext(ctx context.Context, network, hp string) (net.Conn, error)
	// HttpDialContext is HttpDial with a context, for http.Transport's DialContext.
	HttpDialContext(ctx context.Context, network, host string) (net.Conn, error)
	// HttpDial is Dial for http.Transport: port 80 is left out, so http://service/ dials "service".
	HttpDial(network, host string) (net.Conn, error)

	// Bind listens at hp: "service", "service:port" or ":port". Without a port, or with port 0, it takes one of its own, 16777217 or
	// above. The service can be dialled by all nodes of the same environment that are linked with this one.
	//
	// The error is a *net.OpError whose Err is ErrPortInUse, ErrDenied, ErrNodeClosed or a *net.AddrError.
	Bind(network, hp string) (net.Listener, error)
	// BindContext is Bind, with a context that ends the listener with it.
	BindContext(ctx context.Context, network, hp string) (net.Listener, error)

	// ListenAndServe takes links at an address of this machine. It returns once it listens. The network is "tcp" (also "tcp4" and
	// "tcp6"), "unix", "ws" for WebSocket, whose address is "host:port" or "host:port/path", or one of Config.Networks.
	// Without Credentials and Insecure an empty or wildcard host is loopback.
	ListenAndServe(network, address string) error
	// Handler returns a handler that takes links by WebSocket, to be mounted in a server of the program's. Without Credentials and
	// Insecure it refuses what it can see to be from another machine; it cannot see through a proxy on this one that says
	// nothing of it. The server's Close leaves the links as they are.
	Handler() http.Handler
	// Join links this node with the one at the address, or, if that is a name, with those at all addresses it has, and keeps
	// doing so: names are looked up again. The networks are those of ListenAndServe, and "wss", WebSocket within TLS as browsers know it;
	// a WebSocket's name is one address. Join returns when there is a link, and Services has those of its other end. If at first there is none it returns why, and goes on, unless the
	// address is wrong or an identity is refused, by this node or the other.
	Join(network, address string) error
	// JoinContext is Join that waits no longer than ctx for the first link. What goes on afterwards ends with Close.
	JoinContext(ctx context.Context, network, address string) error
	// Attach makes a link of an ordered reliable byte stream, and blocks until it ends. The node at the other end has to
	// attach it too, sooner or later. If conn is an io.Closer it is closed in the end; otherwise a goroutine stays in its Read until
	// that returns. Such a link is used as long as there is no other between the two nodes.
	Attach(conn io.ReadWriter)

	// Services returns the services that this node knows, its own included.
	Services() []ServiceId
	// Routes returns the nodes that it is linked with.
	Routes() []ServiceId
	// ServiceMap returns what Services does, as something that can be watched. It is the node's: it must not be closed.
	ServiceMap() *RegistryStorage
	// RoutesMap returns what Routes does, likewise.
	RoutesMap() *RegistryStorage

	// Addrs returns the addresses at which links are taken.
	Addrs() []net.Addr
	// ID returns the node's number.
	ID() uint64

	// New returns a fresh node with the same settings.
	New() Multiplexer
	// Router returns a fresh node. Every node relays, so it is the same as New.
	Router() Multiplexer
	// Client returns a fresh node that announces nothing: its services are its own.
	Client() Multiplexer
	// Server returns a fresh node that does not follow others' addresses.
	Server() Multiplexer
	// WithEnv returns a fresh node whose services live in an environment: the names that it binds and dials have
	// ".a.b" appended for WithEnv("a", "b"). Without arguments the environment stays as it is.
	WithEnv(env ...string) Multiplexer
	// WithLoopBack returns a fresh node that reaches its own services, too.
	WithLoopBack() Multiplexer

	// Close ends the node: its listeners, links and connections. A second Close returns nil, once the first is done.
	Close() error
}

// Multiplexer is another name of AstraNet.
type Multiplexer = AstraNet

// ServiceId is an instance of a service, or, in Routes, a node.
type ServiceId struct {
	Service  string // its name, environment included; in Routes the node's
	Priority int    // how many relays there are on the way to it
	Host     uint64 // id of the node
	Port     uint32 // port on the node
	Node     string // the node's name, as its certificate has it
}

// String returns "service at host:port".
func (s ServiceId) String() string {
	a := Addr{Host: s.Host, Port: s.Port}
	if s.Service == "" {
		return a.String()
	}
	return s.Service + " at " + a.String()
}

// New makes a node with the default settings.
func New() AstraNet { return Config{}.New() }

// New makes a node with these settings.
func (c Config) New() AstraNet { return newNode(settings{Config: c, announces: true, follows: true}) }
