package vaulttest

import (
	"os"
	"syscall"
)

// attributes put a child into its own group and let it end with us, in an orderly way: a Vault that is killed
// leaves its plugins running.
func attributes(uid, gid int, end syscall.Signal) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: end}
	if uid != 0 {
		a.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return a
}

func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
