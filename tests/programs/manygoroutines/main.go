// Manygoroutines: 10,000 short ones, each making one traced call that makes another.
package main

import (
	"sync"

	"undergo.test/programs/internal/truth"
)

var (
	cJob  = truth.Of("main.job")
	cPart = truth.Of("main.part")
)

//go:noinline
func part(n int) int {
	cPart.Enter()
	cPart.Leave()
	return n + 1
}

//go:noinline
func job(n int) int {
	cJob.Enter()
	r := part(n) * 2
	cJob.Leave()
	return r
}

func main() {
	truth.Begin()
	var all sync.WaitGroup
	for i := 0; i < 10000; i++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			job(n)
		}(i)
	}
	all.Wait()
	truth.Tell()
}
