// Virtnet shows and inspects virtual networks. "virtnet help" says how.
package main

import (
	"os"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
