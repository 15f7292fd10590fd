package whisk

import (
	"bufio"
	"io"
)

// codeSkipper passes JSON through and replaces the string at .exec.code, which can be tens of megabytes in the
// answer to a PUT, by an empty one. Everything else, also what is not JSON, comes out byte for byte.
type codeSkipper struct {
	src   *bufio.Reader
	depth int
	at    [2]string // keys of the first two levels on the way to here
	array bool      // the first two levels hold an array: no field of an object there
	key   bool      // the next string is a key
	drop  bool      // inside the code
	str   bool      // inside a string
	esc   bool      // after a backslash
	word  []byte    // the key being read, up to a few bytes
}

func newCodeSkipper(r io.Reader) *codeSkipper {
	return &codeSkipper{src: bufio.NewReaderSize(r, 8<<10)}
}

// Read implements io.Reader.
func (s *codeSkipper) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if n > 0 && s.src.Buffered() == 0 {
			return n, nil // do not wait for more while there is something to hand on
		}
		c, err := s.src.ReadByte()
		if err != nil {
			return n, err
		}
		if s.step(c) {
			p[n] = c
			n++
		}
	}
	return n, nil
}

// step follows the structure and reports whether c is handed on.
func (s *codeSkipper) step(c byte) bool {
	if s.str {
		return s.inString(c)
	}
	switch c {
	case '{':
		s.depth++
		s.key = true
	case '[':
		s.depth++
		s.key, s.array = false, s.array || s.depth <= 2
	case '}', ']':
		s.depth--
		s.key = false
		if s.depth < 2 {
			s.array = false
		}
	case ',':
		s.key = !s.array || s.depth > 2
	case '"':
		s.str, s.word = true, s.word[:0]
		s.drop = !s.key && !s.array && s.depth == 2 && s.at == [2]string{"exec", "code"}
	}
	return true
}

func (s *codeSkipper) inString(c byte) bool {
	switch {
	case s.esc:
		s.esc = false
	case c == '\\':
		s.esc = true
	case c == '"':
		s.str = false
		if s.key && !s.array && s.depth >= 1 && s.depth <= 2 {
			s.at[s.depth-1] = string(s.word)
			s.key = false
		}
		return true
	}
	if len(s.word) < 8 { // longer than "exec" and "code" is enough to tell
		s.word = append(s.word, c)
	}
	return !s.drop
}
