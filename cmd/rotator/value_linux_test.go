package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/term"
)

// pseudo is a terminal: what is typed into one end is read at the other.
func pseudo(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	var unlock, n uint32
	for request, arg := range map[uintptr]*uint32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &n} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	tty, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return keyboard, tty
}

// TestAValueIsTypedUnseen: the terminal is asked, and echoes nothing; told to stop, the program gives its echo back.
func TestAValueIsTypedUnseen(t *testing.T) {
	const typed = "typed-value-123"
	echo := func(tty *os.File) bool {
		var state syscall.Termios
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&state)))
		return errno == 0 && state.Lflag&syscall.ECHO != 0
	}
	for name, stop := range map[string]bool{"typed": false, "told to stop": true} {
		keyboard, tty := pseudo(t)
		if !term.IsTerminal(int(tty.Fd())) || !echo(tty) {
			t.Fatal("this is no terminal as a shell leaves it")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var asked output
		type answer struct {
			value string
			err   error
		}
		got := make(chan answer, 1)
		go func() {
			cmd := fingerprintCommand(new(globals))
			cmd.SetContext(ctx)
			cmd.SetIn(tty)
			cmd.SetErr(&asked)
			v, err := readValue(cmd, "-")
			text, _ := v.Text()
			got <- answer{text, err}
		}()
		for deadline := time.Now().Add(10 * time.Second); echo(tty); { // it is off when the line is read
			if time.Now().After(deadline) {
				t.Fatal("the echo stays on")
			}
		}
		if stop {
			cancel()
		} else if _, err := keyboard.WriteString(typed + "\n"); err != nil {
			t.Fatal(err)
		}
		a := <-got
		if stop != (a.err != nil) || !stop && a.value != typed || !strings.Contains(asked.String(), "not shown") || !echo(tty) {
			t.Errorf("%s: %q, %v; asked %q; echo %v", name, a.value, a.err, asked.String(), echo(tty))
		}
		cancel()
		_, _ = tty.WriteString("|")
		shown := make([]byte, 200)
		n, _ := keyboard.Read(shown)
		if strings.Contains(string(shown[:n]), "typed") {
			t.Errorf("%s: echoed %q", name, shown[:n])
		}
		if stop {
			_, _ = keyboard.WriteString("\n") // the abandoned reader ends
		}
	}
}
