//go:build !linux

package clustertest

import "syscall"

func noOrphan() *syscall.SysProcAttr { return nil }
