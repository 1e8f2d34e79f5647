// Command selftraced has the runtime trace it, into the file it is given, while its workers do all kinds of things.
package main

import (
	"os"
	"runtime"
	"runtime/trace"
	"sync"
	"syscall"
	"time"
)

//go:noinline
func burn(d time.Duration) int {
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end); {
		n++
	}
	return n
}

func worker(id int, mu *sync.Mutex, in chan int, out chan int, fd int) {
	for i := 0; i < 40; i++ {
		switch (id + i) % 5 {
		case 0:
			burn(2 * time.Millisecond)
		case 1:
			time.Sleep(3 * time.Millisecond)
		case 2:
			mu.Lock()
			time.Sleep(time.Millisecond)
			mu.Unlock()
		case 3:
			out <- <-in
		case 4:
			var one [1]byte
			syscall.Read(fd, one[:]) // blocks in the kernel until the feeder writes
		}
	}
}

func main() {
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	if err := trace.Start(file); err != nil {
		panic(err)
	}
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		panic(err)
	}
	const workers = 10
	var all sync.WaitGroup
	var mu sync.Mutex
	in, out, quit := make(chan int), make(chan int), make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case in <- i:
				<-out
			case <-quit:
				return
			}
		}
	}()
	go func() {
		for {
			time.Sleep(500 * time.Microsecond)
			if _, err := syscall.Write(fds[1], []byte{1}); err != nil {
				return
			}
			select {
			case <-quit:
				return
			default:
			}
		}
	}()
	for id := 0; id < workers; id++ {
		id := id
		all.Add(1)
		go func() {
			defer all.Done()
			if id == 0 {
				runtime.LockOSThread()
			}
			worker(id, &mu, in, out, fds[0])
		}()
	}
	all.Wait()
	close(quit)
	trace.Stop()
	file.Close()
}
