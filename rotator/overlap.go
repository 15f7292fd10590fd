package rotator

import (
	"strconv"
	"strings"
	"time"
)

// What the platform may still do with old values after the last PUT (openwhisk: cache lag of the other
// controllers, time in the queue).
const (
	cacheLag  = 5 * time.Minute
	queueTime = time.Minute
)

// overlap is the time between the last target's update and the revocation of the old generation. Drained, it is
// what work in flight may still need: one activation may use its limit for init and again for run.
func overlap(f Facts) time.Duration {
	if !f.Rule.Drain {
		return f.Rule.Overlap
	}
	longest := time.Minute // the platform's default limit, for targets that do not name one
	for _, s := range f.Sights {
		longest = max(longest, s.Observed.Timeout)
	}
	return 2*longest + cacheLag + queueTime + f.Zombie
}

// follows reports whether version is exactly one patch after before; anything else means somebody wrote in between.
func follows(before, version string) bool {
	head, patch, ok := cutLast(before)
	n, err := strconv.Atoi(patch)
	return ok && err == nil && version == head+"."+strconv.Itoa(n+1)
}

func cutLast(v string) (head, tail string, ok bool) {
	i := strings.LastIndexByte(v, '.')
	if i < 0 {
		return "", "", false
	}
	return v[:i], v[i+1:], true
}
