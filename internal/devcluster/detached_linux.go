package main

import "syscall"

// detached keeps Ctrl-C in the terminal from the children, so that they are stopped in order, and ends them when this
// process is killed itself.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
