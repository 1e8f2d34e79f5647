// Migrate: calls that change threads while open: channels, Gosched, sleeps, system calls, locked threads.
package main

import (
	"os"
	"runtime"
	"sync"
	"time"

	"undergo.test/programs/internal/truth"
)

var (
	cPing   = truth.Of("main.ping")
	cYield  = truth.Of("main.yield")
	cNap    = truth.Of("main.nap")
	cStat   = truth.Of("main.stat")
	cLocked = truth.Of("main.locked")
)

//go:noinline
func ping(out, in chan int, n int) int {
	cPing.Enter()
	out <- n
	r := <-in
	cPing.Leave()
	return r
}

//go:noinline
func yield(n int) {
	cYield.Enter()
	for i := 0; i < n; i++ {
		runtime.Gosched()
	}
	cYield.Leave()
}

//go:noinline
func nap() {
	cNap.Enter()
	time.Sleep(100 * time.Microsecond)
	cNap.Leave()
}

//go:noinline
func stat() {
	cStat.Enter()
	os.Stat("/proc/self/stat")
	cStat.Leave()
}

//go:noinline
func locked(out, in chan int) {
	cLocked.Enter()
	runtime.LockOSThread()
	ping(out, in, 1)
	nap()
	runtime.UnlockOSThread()
	cLocked.Leave()
}

func main() {
	truth.Begin()
	runtime.GOMAXPROCS(4)
	var all sync.WaitGroup
	for w := 0; w < 6; w++ {
		all.Add(1)
		go func() {
			defer all.Done()
			out, in := make(chan int), make(chan int)
			go func() {
				for n := range out {
					in <- n + 1
				}
			}()
			for i := 0; i < 80; i++ {
				ping(out, in, i)
				yield(i % 5)
				nap()
				stat()
				if i%8 == 0 {
					locked(out, in)
				}
			}
			close(out)
		}()
	}
	all.Wait()
	truth.Tell()
}
