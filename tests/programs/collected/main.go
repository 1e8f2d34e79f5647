// Command collected allocates faster than the collector likes, with more goroutines than Ps, locked threads and
// timers among them, and stops the world now and then: whatever happens to a call, its bins add up.
package main

import (
	"runtime"
	"sync"
	"time"

	"undergo.test/programs/internal/truth"
)

type node struct {
	next *node
	data [10]*node
}

var counts = map[string]*truth.Count{
	"main.grow":    truth.Of("main.grow"),
	"main.wait":    truth.Of("main.wait"),
	"main.collect": truth.Of("main.collect"),
}

//go:noinline
func grow(n int) *node {
	counts["main.grow"].Enter()
	var list *node
	for i := 0; i < n; i++ {
		list = &node{next: list}
		list.data[i%10] = list
	}
	counts["main.grow"].Leave()
	return list
}

//go:noinline
func wait(c chan int, timer *time.Timer) {
	counts["main.wait"].Enter()
	select {
	case <-c:
	case <-timer.C:
	}
	counts["main.wait"].Leave()
}

//go:noinline
func collect() {
	counts["main.collect"].Enter()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	counts["main.collect"].Leave()
}

func main() {
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		i := i
		all.Add(1)
		go func() {
			defer all.Done()
			if i%4 == 0 {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			for j := 0; j < 30; j++ {
				grow(2000)
				wait(nil, time.NewTimer(time.Duration(i)*100*time.Microsecond))
				if i == 1 && j%10 == 0 {
					collect()
				}
			}
		}()
	}
	all.Wait()
	truth.Tell()
}
