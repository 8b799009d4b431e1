//go:build !linux

package redistest

import "syscall"

// noOrphan is for Linux only: elsewhere a server may outlive a test that was killed.
func noOrphan() *syscall.SysProcAttr { return nil }
