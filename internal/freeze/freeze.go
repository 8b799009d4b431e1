// Package freeze stops processes for tests, as a long pause of the machine would.
package freeze

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process stops a child process with SIGSTOP and returns when it stands still: the signal alone is sent before the last of the
// process's threads has noticed, and until then they work on, for milliseconds on a busy machine. SIGCONT lets it go on.
// The error says that it could not be stopped, or has ended instead; its end is left for whoever waits for it.
func Process(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
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
