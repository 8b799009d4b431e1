package clustertest

import "syscall"

// noOrphan makes a node end with the test's process, also when that is killed or panics and cleans up nothing.
func noOrphan() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
