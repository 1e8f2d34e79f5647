// Goexit at several depths, with deferred functions, some of which recover (which does not stop it).
package main

import (
	"runtime"
	"sync"

	"undergo.test/programs/internal/truth"
)

var (
	cLeave   = truth.Of("main.leave")
	cOuter   = truth.Of("main.outer")
	cCleanup = truth.Of("main.cleanup")
)

//go:noinline
func cleanup(n int) {
	cCleanup.Enter()
	recover()
	cCleanup.Leave()
}

//go:noinline
func leave(n int) {
	cLeave.Enter()
	cLeave.Goexit(1)
	if n > 0 {
		leave(n - 1)
	}
	defer cleanup(n)
	runtime.Goexit()
}

//go:noinline
func outer(n int) {
	cOuter.Enter()
	if n%3 == 0 {
		cOuter.Leave()
		return
	}
	cOuter.Goexit(1)
	defer cleanup(n)
	defer func() { recover() }()
	leave(n % 7)
}

func main() {
	truth.Begin()
	var all sync.WaitGroup
	for i := 0; i < 300; i++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			outer(n)
		}(i)
	}
	all.Wait()
	// Goroutines are done a little after their deferred functions: give their ends a chance to be seen.
	for runtime.NumGoroutine() > 1 {
		runtime.Gosched()
	}
	truth.Tell()
}
