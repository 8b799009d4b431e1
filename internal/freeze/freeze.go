// Package freeze stops processes for tests, as a long pause of the machine would.
package freeze

import (
	"os"
	"syscall"
)

// Process stops a child process with SIGSTOP and returns when it stands still: the signal alone is sent before the last of the
// process's threads has noticed, and until then they work on, for milliseconds on a busy machine. SIGCONT lets it go on.
// The error says that it could not be stopped, or has ended instead; its end is left for whoever waits for it.
func Process(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return await(p)
}
