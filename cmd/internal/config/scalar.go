package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// scalar is the text of a text or whole number. Anything else is reported.
func (v value) scalar() (string, bool) {
	switch t := v.node.(type) {
	case nil:
		return "", false
	case *ast.StringNode:
		return t.Value, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(t.Value.Value, "\n"), true
	case *ast.IntegerNode:
		return t.GetToken().Value, true // as written: 0123 stays 0123
	}
	v.fail("is "+kindOf(v.node)+", wants a text", `put it in quotes: "..."`)
	return "", false
}

// text is the field as text, or the default when it is not there. An empty text is a mistake.
func (s *section) text(key, def string) string {
	v, ok := s.field(key)
	if !ok {
		return def
	}
	return v.nonEmpty(def)
}

func (v value) nonEmpty(def string) string {
	t, ok := v.scalar()
	if !ok {
		return def
	}
	if strings.TrimSpace(t) == "" {
		v.fail("is empty", "give it a value or remove the line")
		return def
	}
	return t
}

// optional is like text, but an empty text is allowed and means the same as no line.
func (s *section) optional(key, def string) string {
	if v, ok := s.field(key); ok {
		if t, ok := v.scalar(); ok && t != "" {
			return t
		}
	}
	return def
}

func (s *section) choice(key, def string, more ...string) string {
	got := s.text(key, def)
	all := append([]string{def}, more...)
	if slices.Contains(all, got) {
		return got
	}
	v, _ := s.field(key)
	v.fail(fmt.Sprintf("unknown value %q", show(got)), didYouMean(got, all))
	return def
}

func (s *section) flag(key string) bool {
	v, ok := s.field(key)
	if !ok {
		return false
	}
	if b, ok := v.node.(*ast.BoolNode); ok {
		return b.Value
	}
	v.fail("wants true or false", "write true or false, without quotes; yes, no, on and off are plain texts in YAML 1.2")
	return false
}

func (s *section) count(key string, def, lo, hi int) int {
	v, ok := s.field(key)
	if !ok {
		return def
	}
	n, isInt := v.node.(*ast.IntegerNode)
	if !isInt {
		v.fail("is "+kindOf(v.node)+", wants a whole number", fmt.Sprintf("write a number from %d to %d, without quotes", lo, hi))
		return def
	}
	i, err := strconv.Atoi(n.GetToken().Value)
	if err != nil || i < lo || i > hi {
		v.fail(fmt.Sprintf("is %s, out of range", show(n.GetToken().Value)), fmt.Sprintf("write a number from %d to %d", lo, hi))
		return def
	}
	return i
}

// duration is the field as a time within lo and hi.
func (s *section) duration(key string, def, lo, hi time.Duration) time.Duration {
	v, ok := s.field(key)
	if !ok {
		return def
	}
	d, ok := v.duration()
	if !ok {
		return def
	}
	if d < lo || d > hi {
		v.fail(fmt.Sprintf("is %s, out of range", d), fmt.Sprintf("write a time from %s to %s", lo, hi))
		return def
	}
	return d
}

// duration reads 15m, 1h30m, 7d or 0.
func (v value) duration() (time.Duration, bool) {
	t, ok := v.scalar()
	if !ok {
		return 0, false
	}
	if t == "0" {
		return 0, true
	}
	if _, err := strconv.ParseFloat(t, 64); err == nil {
		v.fail(fmt.Sprintf("the time %s has no unit", show(t)), fmt.Sprintf("write %ss, %sm or %sh", show(t), show(t), show(t)))
		return 0, false
	}
	d, err := time.ParseDuration(t)
	if days, isDays := strings.CutSuffix(t, "d"); err != nil && isDays {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n <= 3650 {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil {
		v.fail(fmt.Sprintf("%q is not a time", show(t)), "write 30s, 15m, 1h30m or 7d")
		return 0, false
	}
	if d < 0 {
		v.fail(fmt.Sprintf("the time %s is negative", show(t)), "write 0s or more")
		return 0, false
	}
	return d, true
}

// address is "host:port", or empty for "none".
func (s *section) address(key, def string, loopbackOnly bool) string {
	got := s.text(key, def)
	if got == "none" {
		return ""
	}
	v, _ := s.field(key)
	host, port, err := net.SplitHostPort(got)
	if err != nil {
		v.fail(fmt.Sprintf("%q is not an address", show(got)), fmt.Sprintf("write host:port such as %s, or none", def))
		return def
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		v.fail(fmt.Sprintf("%q is not a port", show(port)), "write a number from 0 to 65535")
		return def
	}
	if loopbackOnly && !loopback(host) {
		v.fail(fmt.Sprintf("%q is reachable from other machines, and the embedded server knows no users", show(got)),
			"listen on 127.0.0.1, or run a NATS server with authentication and set nats.url")
		return def
	}
	return got
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
