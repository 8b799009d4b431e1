package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"time"
)

// member is a worker, in this process or in another.
type member interface {
	connect() error
	run(time.Duration) (map[int][]uint64, error)
	settle(map[int][]uint64) error
	sample() (sample, error)
	finish(map[int][]uint64) (verdict, error)
	stop()
	pid() int // 0: this process
}

// local is a worker in this process.
type local struct{ *worker }

func (l local) finish(sent map[int][]uint64) (verdict, error) { return l.worker.finish(sent), nil }
func (l local) pid() int                                      { return 0 }

// Service is a worker as another process sees it, over net/rpc.
type Service struct{ w *worker }

// Message is what travels between the processes; each call uses some of it.
type Message struct {
	Plan     plan
	Duration time.Duration
	Sent     map[int][]uint64
	Sample   sample
	Verdict  verdict
}

// Prepare takes the plan, of which this worker has its part.
func (s *Service) Prepare(in Message, _ *Message) error { s.w = newWorker(in.Plan); return nil }

// Connect opens the worker's connections.
func (s *Service) Connect(Message, *Message) error { return s.w.connect() }

// Run does what the scenario says for that long.
func (s *Service) Run(in Message, out *Message) (err error) {
	out.Sent, err = s.w.run(in.Duration)
	return err
}

// Settle waits for what is under way.
func (s *Service) Settle(in Message, _ *Message) error { return s.w.settle(in.Sent) }

// Sample is what has happened since the last one.
func (s *Service) Sample(_ Message, out *Message) (err error) {
	out.Sample, err = s.w.sample()
	return err
}

// Finish closes everything.
func (s *Service) Finish(in Message, out *Message) error {
	out.Verdict = s.w.finish(in.Sent)
	return nil
}

// serveWorker is the process of a worker: it obeys until its standard input ends.
func serveWorker(in io.Reader, out io.Writer) error {
	if _, err := openFiles(); err != nil {
		return err
	}
	s := &Service{}
	server := rpc.NewServer()
	if err := server.Register(s); err != nil {
		return err
	}
	server.ServeConn(pipe{in, out})
	if s.w != nil {
		s.w.stop()
	}
	return nil
}

// pipe is standard input and output as one connection.
type pipe struct {
	io.Reader
	io.Writer
}

func (pipe) Close() error { return nil }

// remote is a worker in a process that we started.
type remote struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	client *rpc.Client
	stderr bytes.Buffer
}

func startRemote(p plan) (*remote, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &remote{cmd: exec.Command(self, commandWorker)}
	orphanless(r.cmd)
	r.cmd.Stderr = &r.stderr
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	r.client = rpc.NewClient(processPipe{pipe{out, r.in}, r.in})
	if _, err := r.call("Prepare", Message{Plan: p}); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// processPipe ends the process when it is closed.
type processPipe struct {
	pipe
	in io.Closer
}

func (p processPipe) Close() error { return p.in.Close() }

func (r *remote) call(method string, in Message) (out Message, err error) {
	if err := r.client.Call("Service."+method, in, &out); err != nil {
		return out, fmt.Errorf("worker process %d: %w %s", r.pid(), err, bytes.TrimSpace(r.stderr.Bytes()))
	}
	return out, nil
}

func (r *remote) connect() error {
	_, err := r.call("Connect", Message{})
	return err
}

func (r *remote) run(d time.Duration) (map[int][]uint64, error) {
	out, err := r.call("Run", Message{Duration: d})
	return out.Sent, err
}

func (r *remote) settle(sent map[int][]uint64) error {
	_, err := r.call("Settle", Message{Sent: sent})
	return err
}

func (r *remote) sample() (sample, error) {
	out, err := r.call("Sample", Message{})
	return out.Sample, err
}

func (r *remote) finish(sent map[int][]uint64) (verdict, error) {
	out, err := r.call("Finish", Message{Sent: sent})
	return out.Verdict, err
}

func (r *remote) pid() int { return r.cmd.Process.Pid }

// stop ends the process and waits for it.
func (r *remote) stop() {
	_ = r.client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = r.cmd.Process.Kill() })()
	_ = r.cmd.Wait() // how it ended no longer matters
}
