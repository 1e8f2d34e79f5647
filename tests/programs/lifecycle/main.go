// Command lifecycle makes goroutines one after the other, so that the runtime gives their g's again, and says which
// there were: goid, parent, how long it lived and who woke it.
package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"undergo.test/programs/internal/truth"
)

// Life is what a goroutine knows of itself.
type Life struct {
	Goid, Parent, Waker int64
	Lived               int64 // ns, at least
}

// goid is what the runtime prints in front of a stack.
func goid() int64 {
	var buffer [64]byte
	text := string(buffer[:runtime.Stack(buffer[:], false)])
	id, err := strconv.ParseInt(strings.Fields(text)[1], 10, 64)
	if err != nil {
		panic(err)
	}
	return id
}

//go:noinline
func worker(parent int64, wake chan int64, lives chan<- Life) {
	start := time.Now()
	waker := <-wake
	time.Sleep(time.Millisecond)
	lives <- Life{goid(), parent, waker, int64(time.Since(start))}
}

//go:noinline
func spawner(lives chan<- Life, done chan<- bool) {
	me := goid()
	for i := 0; i < 5; i++ {
		wake := make(chan int64)
		go worker(me, wake, lives)
		time.Sleep(2 * time.Millisecond)
		wake <- me
		time.Sleep(4 * time.Millisecond) // it is dead by now, and its g free
	}
	done <- true
}

func main() {
	truth.Begin()
	lives, done := make(chan Life, 100), make(chan bool)
	for i := 0; i < 4; i++ {
		go spawner(lives, done)
	}
	for i := 0; i < 4; i++ {
		<-done
	}
	close(lives)
	var all []Life
	for life := range lives {
		all = append(all, life)
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	fmt.Println("LIVES " + string(text))
}
