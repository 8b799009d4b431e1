package freeze_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/freeze"
)

// TestProcess stops a busy process again and again: each time no thread of it runs when Process returns.
func TestProcess(t *testing.T) {
	busy := exec.Command("sh", "-c", "while :; do :; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = busy.Process.Kill()
		_ = busy.Wait()
	}()
	for range 100 {
		if err := freeze.Process(busy.Process); err != nil {
			t.Fatal(err)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", busy.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "T") {
			t.Fatalf("it has not stopped: %s", stat)
		}
		if err := busy.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEnded tries to stop a process that has ended, and leaves its exit status for who waits for it.
func TestEnded(t *testing.T) {
	ended := exec.Command("sh", "-c", "read line; exit 3")
	in, err := ended.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	if err := freeze.Process(ended.Process); err != nil {
		t.Fatal(err)
	}
	_ = ended.Process.Signal(syscall.SIGCONT)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(deadline); { // it ends at once
		if err = freeze.Process(ended.Process); err == nil {
			_ = ended.Process.Signal(syscall.SIGCONT)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v", err)
	}
	_ = ended.Wait()
	if code := ended.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d", code)
	}
}
