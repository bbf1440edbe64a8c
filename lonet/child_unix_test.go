//go:build unix

package lonet_test

import (
	"fmt"
	"strconv"
	"syscall"
)

// obeySystem obeys the commands that not every system has.
func (p *process) obeySystem(command string, args []string) (string, error) {
	switch command {
	case "limit": // N: how many descriptors there may be
		limit := syscall.Rlimit{Cur: must1(strconv.ParseUint(args[0], 10, 32))}
		limit.Max = limit.Cur
		return "", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	return "", fmt.Errorf("unknown command %q", command)
}
