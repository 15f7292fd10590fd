//go:build !linux

package vaulttest

import (
	"os"
	"syscall"
)

// attributes has nothing to say here: who starts a server stops it.
func attributes(int, int, syscall.Signal) *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { _ = p.Kill() }
