package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// maxValue bounds what is read: OpenWhisk takes no larger parameter.
const maxValue = 1 << 20

// readValue reads one value from a file, or with - from standard input. A terminal is asked, and shows nothing of the answer.
func readValue(cmd *cobra.Command, path string) (secret.Value, error) {
	raw, err := readRaw(cmd, path)
	if err != nil {
		return secret.Value{}, err
	}
	defer clear(raw)
	value := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	switch {
	case len(value) == 0 || len(value) > maxValue:
		return secret.Value{}, errors.New("the input must hold one value, at most 1 MiB")
	case !utf8.Valid(value):
		return secret.Value{}, errors.New("the value is not UTF-8, so it cannot be a parameter as it is; give what is bound, for example its base64")
	}
	return secret.FromText(string(value)), nil
}

func readRaw(cmd *cobra.Command, path string) ([]byte, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && path == "-" && term.IsTerminal(int(f.Fd())) {
		return prompt(cmd.Context(), f, cmd.ErrOrStderr())
	}
	return inputs.Read(path, cmd.InOrStdin())
}

// prompt reads a line without echo. If the program is told to stop meanwhile, the terminal gets its echo back.
func prompt(ctx context.Context, tty *os.File, w io.Writer) ([]byte, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("asking for the value: %w", err)
	}
	fmt.Fprint(w, "The leaked value, one line; it is not shown: ")
	defer fmt.Fprintln(w)
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
