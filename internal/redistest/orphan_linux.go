package redistest

import "syscall"

// noOrphan makes the server end with the test's process, also when that is killed or panics and cleans up nothing.
func noOrphan() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
