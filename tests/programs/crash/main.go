// Crash: ends by a nil dereference in the middle of a call.
package main

import "undergo.test/programs/internal/truth"

var (
	cWork  = truth.Of("main.work")
	cCrash = truth.Of("main.crash")
)

//go:noinline
func work(n int) int {
	cWork.Enter()
	cWork.Leave()
	return n
}

//go:noinline
func crash(p *int) int {
	cCrash.Enter()
	cCrash.StayOpen(1)
	work(1)
	truth.Tell()
	return *p
}

func main() {
	truth.Begin()
	for i := 0; i < 100; i++ {
		work(i)
	}
	crash(nil)
}
