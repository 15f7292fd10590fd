package config

import "fmt"

// file is a path in the file, made relative to it. A missing file is a warning: it may be there when the
// service runs.
func (s *section) file(key string) string { return s.fileField(key, false) }

// secretFile is a file that nobody but its owner should read.
func (s *section) secretFile(key string) string { return s.fileField(key, true) }

func (s *section) fileField(key string, private bool) string {
	p := s.text(key, "")
	if p == "" {
		return ""
	}
	v, _ := s.field(key)
	if literalPassword(p) || show(p) == "[redacted]" {
		v.fail("wants the path of a file, and this looks like the secret itself", "put it into a file and name the file here")
		return ""
	}
	if p[0] == '~' {
		v.fail("~ is not expanded here", "write the full path")
		return ""
	}
	full := s.r.path(p)
	s.r.inspect(v, full, private)
	return full
}

// inspect warns about files that are missing, are directories, or are open to everybody.
func (r *reader) inspect(v value, path string, private bool) {
	if r.machine.Stat == nil {
		return
	}
	info, err := r.machine.Stat(path)
	switch {
	case err != nil:
		v.warn(fmt.Sprintf("the file %q cannot be found here", show(path)), "create it before `rotator run` starts, or correct the path")
	case info.IsDir():
		v.fail(fmt.Sprintf("%q is a directory", show(path)), "name a file")
	case private && info.Mode().Perm()&0o044 != 0:
		v.warn(fmt.Sprintf("the file %q can be read by others (mode %04o)", show(path), info.Mode().Perm()), "chmod 600 it")
	}
}
