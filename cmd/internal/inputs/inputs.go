// Package inputs reads parameter values that a person gives: on the command line, in a JSON file, in a .env file, in a file of their own.
//
// Values arrive with the types that `aio` gives them: on the command line true, false and what reads as a JSON object or array
// are JSON, everything else is a text, numbers too; in a JSON file every value has its own type; in a .env file all are texts, and a
// file of its own is one text.
//
// Guarantees: a key that is given twice in one place is an error, never a guess. No error holds a value. Numbers keep all their
// digits. Failure modes: every error names the file, and the line or the key, and is a mistake of whoever gave the input.
package inputs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// MaxBytes bounds a file: no host takes as much for one action.
const MaxBytes = 8 << 20

// Argument is the value of one KEY VALUE pair of the command line.
func Argument(key, text string) (param.Entry, error) {
	if key == "" {
		return param.Entry{}, errors.New("a parameter has an empty name")
	}
	if !utf8.ValidString(key) || !utf8.ValidString(text) {
		return param.Entry{}, fmt.Errorf("parameter %q is not UTF-8; encode it as base64, or put it into a JSON file", key)
	}
	if text == "true" || text == "false" || text != "" && (text[0] == '{' || text[0] == '[') {
		if v, err := secret.FromJSON([]byte(text)); err == nil {
			return param.Entry{Key: key, Value: v}, nil
		}
	}
	return param.Entry{Key: key, Value: secret.FromText(text)}, nil
}

// Text is a parameter whose value is the text of a file as it is, line ends included.
func Text(key string, raw []byte) (param.Entry, error) {
	if key == "" {
		return param.Entry{}, errors.New("a parameter has an empty name")
	}
	if !utf8.Valid(raw) {
		return param.Entry{}, fmt.Errorf("parameter %q: the file is not UTF-8; encode it as base64", key)
	}
	return param.Entry{Key: key, Value: secret.FromText(string(raw))}, nil
}

// EnvFile reads parameters from what is either a JSON object, as aio has it, or a .env file.
func EnvFile(raw []byte) (param.List, error) {
	if start := bytes.TrimLeft(raw, " \t\r\n"); len(start) > 0 && bytes.ContainsRune([]byte(`{["`), rune(start[0])) {
		return Object(raw)
	}
	return DotEnv(raw)
}

// Read reads a file whole; "-" is stdin.
func Read(path string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err // names the file already
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	raw, err := io.ReadAll(io.LimitReader(from, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, MaxBytes>>20)
	}
	return bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")), nil
}

// Object reads one JSON object: its members are parameters.
func Object(raw []byte) (param.List, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if start, err := d.Token(); err != nil {
		return nil, place(raw, d, err)
	} else if start != json.Delim('{') {
		return nil, errors.New(`is no JSON object; write {"NAME": "value", ...}`)
	}
	var l param.List
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, place(raw, d, err)
		}
		key, _ := token.(string)
		if key == "" {
			return nil, errors.New("a parameter has an empty name")
		}
		if seen[key] {
			return nil, fmt.Errorf("parameter %q is given twice", key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, place(raw, d, err)
		}
		v, err := secret.FromJSON(value)
		if err != nil {
			return nil, fmt.Errorf("parameter %q: %w", key, err)
		}
		l = append(l, param.Entry{Key: key, Value: v})
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, place(raw, d, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one JSON object")
	}
	return l, nil
}

// place says where JSON is broken, and not with which character: it may be part of a value.
func place(raw []byte, d *json.Decoder, err error) error {
	at := d.InputOffset()
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = s.Offset
	}
	at = min(max(at, 0), int64(len(raw)))
	before := raw[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	if len(bytes.TrimSpace(raw)) == 0 {
		return errors.New("is empty")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("is no valid JSON: it ends too early, in line %d", line)
	}
	return fmt.Errorf("is no valid JSON in line %d, column %d", line, int(at)-bytes.LastIndexByte(before, '\n')-1)
}
