// Noreturn: functions that never return, because they wait for ever, always panic, or end the process.
package main

import (
	"os"

	"undergo.test/programs/internal/truth"
)

var (
	cStuck  = truth.Of("main.stuck")
	cAlways = truth.Of("main.always")
	cQuit   = truth.Of("main.quit")
)

//go:noinline
func stuck(ready chan bool) {
	cStuck.Enter()
	cStuck.StayOpen(1)
	ready <- true
	select {}
}

//go:noinline
func always(n int) {
	cAlways.Enter()
	cAlways.Panic(1)
	panic(n)
}

//go:noinline
func quit() {
	cQuit.Enter()
	cQuit.StayOpen(1)
	truth.Tell()
	os.Exit(0)
}

func quietly(f func()) {
	defer func() { recover() }()
	f()
}

func main() {
	truth.Begin()
	ready := make(chan bool)
	for i := 0; i < 20; i++ {
		go stuck(ready)
		<-ready
		quietly(func() { always(i) })
	}
	quit()
}
