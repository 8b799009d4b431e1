//go:build !linux

package freeze

import "os"

// await trusts that the process stands still soon: waitid, which would say so, is at hand on Linux only.
func await(*os.Process) error { return nil }
