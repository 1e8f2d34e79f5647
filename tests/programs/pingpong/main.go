// Command pingpong switches goroutines and, told a file, profiles itself: built with that profile, the runtime's
// hot paths have their status changes inlined.
package main

import (
	"os"
	"runtime/pprof"
	"sync"
	"time"
)

//go:noinline
func play(in, out chan int, until time.Time) {
	for n := range in {
		if time.Now().After(until) {
			break
		}
		out <- n + 1
	}
	close(out)
}

func main() {
	long := 10 * time.Millisecond
	if len(os.Args) > 1 {
		file, err := os.Create(os.Args[1])
		if err != nil {
			panic(err)
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			panic(err)
		}
		defer pprof.StopCPUProfile()
		long = 2 * time.Second
	}
	until := time.Now().Add(long)
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		ping, pong := make(chan int), make(chan int)
		go func() {
			defer all.Done()
			play(ping, pong, until)
		}()
		go play(pong, ping, until)
		ping <- 1
	}
	for time.Now().Before(until) {
		time.Sleep(50 * time.Microsecond)
	}
	all.Wait()
}
