module github.com/virtnet/virtnet/bench

go 1.26.0

require (
	github.com/hashicorp/yamux v0.1.2
	github.com/libp2p/go-yamux/v5 v5.1.0
	github.com/virtnet/virtnet v0.0.0
	github.com/xtaci/smux v1.5.56
	golang.org/x/net v0.62.0
)

require (
	github.com/libp2p/go-buffer-pool v0.0.2 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/virtnet/virtnet => ../
