package freeze

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// await returns when the process stands still.
func await(p *os.Process) error {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("waiting until process %d stands still: %w", p.Pid, err)
		case info.Code != stopped:
			return fmt.Errorf("process %d has ended and cannot be stopped", p.Pid)
		default:
			return nil
		}
	}
}

// stopped is CLD_STOPPED, as waitid(2) puts it in si_code.
const stopped = 5
