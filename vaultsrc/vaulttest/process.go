package vaulttest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A command says what to run.
type command struct {
	path   string
	args   []string
	dir    string
	logs   io.Writer
	uid    int // 0: as ourselves
	gid    int
	signal syscall.Signal // asks it to end; 0: SIGTERM
}

// A process is a running command. A nil process is one that somebody else runs.
type process struct {
	cmd    *exec.Cmd
	signal syscall.Signal
	done   chan struct{}
	tail   *tail
}

// startProcess runs c in a process group of its own. The goroutine that starts it keeps its thread, because on
// Linux the child dies with the thread that started it.
func startProcess(c command) (*process, error) {
	p := &process{cmd: exec.Command(c.path, c.args...), signal: c.signal, done: make(chan struct{}), tail: &tail{next: c.logs}}
	if p.signal == 0 {
		p.signal = syscall.SIGTERM
	}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.dir, p.tail, p.tail
	p.cmd.SysProcAttr = attributes(c.uid, c.gid, p.signal)
	p.cmd.WaitDelay = 5 * time.Second
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "VAULT_") && !strings.HasPrefix(v, "PG") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// ended is closed when the process is over; for nil it never is.
func (p *process) ended() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

func (p *process) kill() {
	if p == nil {
		return
	}
	killGroup(p.cmd.Process)
	<-p.done
}

// stop asks first.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(p.signal)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
	}
	p.kill()
}

func (p *process) lastWords() string {
	if p == nil {
		return ""
	}
	return p.tail.String()
}

// tail passes output on and remembers its end, for error messages.
type tail struct {
	mu   sync.Mutex
	next io.Writer
	last []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	t.last = bytes.Clone(t.last[max(0, len(t.last)-1000):])
	if t.next == nil {
		return len(b), nil
	}
	return t.next.Write(b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.last))
}
