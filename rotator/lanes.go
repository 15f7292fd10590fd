package rotator

import "sync"

// lanes bounds how many bundles one process works on at a time. A part is kept free for leaks, so that a leak never
// waits behind a storm of other rotations.
type lanes struct {
	mu     sync.Mutex
	size   int // zero while Run is not running
	used   int
	barred bool            // by a clock that is wrong
	booked map[string]bool // claimed together with their event: a worker is about to start
}

func (l *lanes) open(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size, l.used, l.booked = size, 0, make(map[string]bool)
}

func (l *lanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = 0
}

// shut keeps anything from being begun, or no more.
func (l *lanes) shut(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.barred = yes
}

// room reports whether one more may start. The caller holds the lock.
func (l *lanes) room(urgent bool) bool {
	if l.barred {
		return false
	}
	size := l.size
	if urgent && size > 0 {
		size += max(size/4, 1)
	}
	return l.used < size
}

// book keeps a place for a bundle that is being claimed together with its event.
func (l *lanes) book(bundle string, urgent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.booked[bundle] || !l.room(urgent) {
		return false
	}
	l.used++
	l.booked[bundle] = true
	return true
}

// cancel gives a booked place back.
func (l *lanes) cancel(bundle string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.booked[bundle] {
		delete(l.booked, bundle)
		l.used--
	}
}

// enter takes the booked place, or a free one.
func (l *lanes) enter(bundle string, urgent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.booked[bundle] {
		delete(l.booked, bundle)
		return true
	}
	if !l.room(urgent) {
		return false
	}
	l.used++
	return true
}

// leave frees the place of a worker that ended.
func (l *lanes) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used--
}
