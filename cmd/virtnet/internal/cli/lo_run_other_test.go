//go:build !unix

package cli

import "syscall"

func noTerminal() *syscall.SysProcAttr { return nil }
