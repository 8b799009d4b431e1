//go:build !linux

package main

import "syscall"

// detached has nothing to say where process groups and death signals are spelled differently.
func detached() *syscall.SysProcAttr { return nil }
