package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"

	"golang.org/x/term"
)

// A recorder keeps all that is written, so that it can be searched for secrets.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

// Bytes is a copy of everything so far.
func (r *recorder) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.buf.Bytes())
}

// A printer writes for people; goroutines may share it.
type printer struct {
	mu      sync.Mutex
	w       io.Writer
	colours bool
	said    *recorder
}

func newPrinter(w io.Writer) *printer {
	f, isFile := w.(*os.File)
	colours := isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	said := new(recorder)
	return &printer{w: io.MultiWriter(w, said), colours: colours, said: said}
}

// Codes of the colours in use.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *printer) paint(code, text string) string {
	if !p.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *printer) line(format string, a ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", a...)
}

func (p *printer) head(text string) { p.line("\n%s", p.paint(bold, text)) }

// table aligns its columns; colour only whole lines, because codes would count as width.
func (p *printer) table(rows [][]string, colour func(row int) string) {
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		for i, cell := range r {
			end := "\t"
			if i == len(r)-1 {
				end = "\n"
			}
			fmt.Fprint(tw, cell+end)
		}
	}
	_ = tw.Flush()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range bytes.Split(bytes.TrimSuffix(b.Bytes(), []byte("\n")), []byte("\n")) {
		text := "  " + string(l)
		if code := colour(i); code != "" {
			text = p.paint(code, text)
		}
		fmt.Fprintln(p.w, text)
	}
}
