package rotator

import (
	"runtime/debug"
	"sync"
)

// fan does the work on n targets, at most Parallel of a host at a time, and returns when all is done. A panic in one of them comes out here.
func fan(n int, host func(i int) string, limits map[string]Limits, do func(i int)) {
	gates := make(map[string]chan struct{})
	for name, l := range limits {
		gates[name] = make(chan struct{}, max(l.Parallel, 1))
	}
	var wg sync.WaitGroup
	var once sync.Once
	var found *caught
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					once.Do(func() { found = &caught{p, debug.Stack()} })
				}
			}()
			if gate := gates[host(i)]; gate != nil {
				gate <- struct{}{}
				defer func() { <-gate }()
			}
			do(i)
		})
	}
	wg.Wait()
	if found != nil {
		panic(*found)
	}
}

// caught is a panic of another goroutine, with the place where it happened.
type caught struct {
	found any
	stack []byte
}
