package whisk

import (
	"strconv"
	"strings"
)

// Follows reports whether next is the version right after old: same major and minor, patch plus one. After a
// PUT, anything else means that somebody wrote between the GET and the PUT.
func Follows(old, next string) bool {
	a, okA := version(old)
	b, okB := version(next)
	return okA && okB && a[0] == b[0] && a[1] == b[1] && a[2]+1 == b[2]
}

func version(s string) (v [3]int, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return v, false
		}
		v[i] = int(n)
	}
	return v, true
}
