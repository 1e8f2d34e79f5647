// Scraped makes a known round of calls for every line it reads, and says when the round is over.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"undergo.test/programs/internal/truth"
)

var (
	cServe = truth.Of("main.serve")
	cFail  = truth.Of("main.fail")
	cQuit  = truth.Of("main.quit")
	cHold  = truth.Of("main.hold")
	cTwice = truth.Of("main.twice[...]")
	sink   int
)

//go:noinline
func serve(path string, d time.Duration) {
	cServe.Enter()
	time.Sleep(d)
	cServe.Leave()
}

//go:noinline
func fail(n int) {
	cFail.Enter()
	panic(n)
}

//go:noinline
func quit() {
	cQuit.Enter()
	runtime.Goexit()
}

//go:noinline
func hold(began, stop chan bool) {
	cHold.Enter()
	began <- true
	<-stop
	cHold.Leave()
}

//go:noinline
func twice[T int | string](v T) T {
	cTwice.Enter()
	v += v
	cTwice.Leave()
	return v
}

func caught(f func()) {
	defer func() { _ = recover() }()
	f()
}

func round() {
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		quit()
	}()
	all.Wait()
	for i := 0; i < 3; i++ {
		caught(func() { fail(i) })
	}
	for i := 0; i < 10; i++ {
		serve("/cart", time.Millisecond)
		serve("/list\n\"all\"\\", 3*time.Millisecond)
		sink += twice(i)
	}
	for i := 0; i < 1000; i++ {
		sink += len(twice("a"))
	}
}

func main() {
	began, stop, held := make(chan bool), make(chan bool), make(chan bool)
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("READY")
	for first := true; lines.Scan(); first = false {
		if first {
			go func() {
				hold(began, stop)
				close(held)
			}()
			<-began
		}
		round()
		fmt.Println("DONE")
	}
	close(stop)
	<-held // there was a line
	truth.Tell()
}
