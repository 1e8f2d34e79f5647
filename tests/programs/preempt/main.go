// Preempt: goroutines preempted cooperatively and asynchronously, with the collector running all the time.
package main

import (
	"runtime"
	"sync"

	"undergo.test/programs/internal/truth"
)

var (
	cStep = truth.Of("main.step")
	cSpin = truth.Of("main.spin")
	sink  [16][]byte
)

//go:noinline
func step(n int) int {
	cStep.Enter()
	r := n * 3
	cStep.Leave()
	return r
}

//go:noinline
func spin(n int) int {
	cSpin.Enter()
	r := 0
	for i := 0; i < n; i++ { // no call in here: only a signal can preempt it
		r += i ^ r
	}
	cSpin.Leave()
	return r
}

func main() {
	truth.Begin()
	runtime.GOMAXPROCS(4)
	stop := make(chan bool)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	var all sync.WaitGroup
	for w := 0; w < 6; w++ {
		all.Add(1)
		go func(w int) {
			defer all.Done()
			for i := 0; i < 1200; i++ {
				step(i)
				if i%100 == 0 {
					spin(3000000)
				}
				if i%10 == 0 {
					sink[w] = make([]byte, 4096)
				}
			}
		}(w)
	}
	all.Wait()
	stop <- true
	truth.Tell()
}
