package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processCPU is the CPU time that a process has used, user and system, in nanoseconds.
func processCPU(pid int) (int64, error) {
	var t unix.Timespec
	// The clock of a process, as clock_getcpuclockid(3) makes its number.
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("the CPU time of process %d: %w", pid, err)
	}
	return t.Nano(), nil
}

// processMemory is the resident memory of a process in bytes.
func processMemory(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, fmt.Errorf("the memory of process %d is not known", pid)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// processName is what a process is called.
func processName(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm") // without it a number must do
	return strings.TrimSpace(string(b))
}

// ownCPU is the CPU time of this process in nanoseconds.
func ownCPU() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// openFiles raises the limit of open files as far as it may be, and returns it.
func openFiles() (int, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	if l.Cur < l.Max {
		l.Cur = l.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return 0, err
		}
	}
	return int(min(l.Cur, 1<<30)), nil
}

// filesOf is the limit of open files of another process, and how many it has open.
func filesOf(pid int) (limit, open int, err error) {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return 0, 0, err
	}
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	return int(min(l.Cur, 1<<30)), len(entries), err
}

// portsPerAddress is how many connections one local address can have to one server.
func portsPerAddress() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var from, to int
	if err == nil {
		_, err = fmt.Sscan(string(b), &from, &to)
	}
	if err != nil {
		return 28_000 // Linux' default
	}
	return to - from + 1
}

// latePort lets the system choose the port when it knows the server, so that servers do not share one supply of ports.
func latePort(_, _ string, c syscall.RawConn) error {
	var inner error
	if err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); err != nil {
		return err
	}
	return inner
}

// bind keeps this process, and those it starts later, on one core.
func bind(core int) error {
	var set unix.CPUSet
	set.Set(core)
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

// orphanless makes a child end with us, however we end.
func orphanless(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
