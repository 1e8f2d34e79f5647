// Reexec: the program executes itself again; the pid stays, everything else begins anew.
package main

import (
	"os"
	"strconv"
	"syscall"

	"undergo.test/programs/internal/truth"
)

var (
	cWork = truth.Of("main.work")
	cNext = truth.Of("main.next")
)

//go:noinline
func work(n int) int {
	cWork.Enter()
	r := n * 2
	cWork.Leave()
	return r
}

// next does not return, except to end the last round.
//go:noinline
func next(round int) {
	cNext.Enter()
	if round == 5 {
		cNext.Leave()
		return
	}
	cNext.StayOpen(1)
	os.Setenv("ROUND", strconv.Itoa(round+1))
	os.Setenv("TRUTH", truth.Line())
	if err := syscall.Exec("/proc/self/exe", os.Args, os.Environ()); err != nil {
		panic(err)
	}
}

func main() {
	round, _ := strconv.Atoi(os.Getenv("ROUND"))
	if round == 0 {
		truth.Begin()
	}
	truth.Load(os.Getenv("TRUTH"))
	for i := 0; i < 200; i++ {
		work(i)
	}
	next(round)
	truth.Tell()
}
