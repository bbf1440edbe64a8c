//go:build unix

package lonet_test

import (
	"fmt"
	"os"
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
	case "eat": // N: takes all descriptors but N, and tells how many more it has than before
		before := len(p.eaten)
		err := p.eat(must1(strconv.Atoi(args[0])))
		return fmt.Sprint(len(p.eaten) - before), err
	case "spit": // gives them back
		for _, fd := range p.eaten {
			syscall.Close(fd)
		}
		p.eaten = nil
		return "", nil
	}
	return "", fmt.Errorf("unknown command %q", command)
}

// eat takes descriptors until no more than free are left.
func (p *process) eat(free int) error {
	for {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err == syscall.EMFILE {
			break
		}
		if err != nil {
			return err
		}
		p.eaten = append(p.eaten, fd)
	}
	for ; free > 0; free-- {
		last := len(p.eaten) - 1
		if err := syscall.Close(p.eaten[last]); err != nil {
			return err
		}
		p.eaten = p.eaten[:last]
	}
	return nil
}
