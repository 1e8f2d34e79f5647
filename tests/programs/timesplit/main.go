// Command timesplit spends known times in every bin: each call notes what it knows of where its time went.
// It is to be run with GODEBUG=asyncpreemptoff=1.
package main

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"undergo.test/programs/internal/truth"
)

const (
	rounds = 5
	wait   = 20 * time.Millisecond
	burst  = 20 * time.Millisecond
)

// An event happens between two looks at the clock.
type event struct{ before, after int64 }

func at(action func()) event {
	e := event{before: truth.Now()}
	action()
	e.after = truth.Now()
	return e
}

// since is how long a call waited that began at t0 and was ended by e.
func (e event) since(t0 int64) [2]int64 { return [2]int64{e.before - t0, e.after - t0} }

//go:noinline
func sleeper() {
	t0 := truth.Now()
	time.Sleep(wait)
	took := [2]int64{int64(wait), truth.Now() - t0}
	truth.Took("main.sleeper", truth.Times{"waits.sleep": took, "waiting+runnable": took})
}

// begin tells the other side that a wait begins, and when.
type begin chan int64

//go:noinline
func locker(mu *sync.Mutex, b begin) {
	b <- truth.Now()
	mu.Lock()
	mu.Unlock()
}

//go:noinline
func readLocker(mu *sync.RWMutex, b begin) {
	b <- truth.Now()
	mu.RLock()
	mu.RUnlock()
}

//go:noinline
func writeLocker(mu *sync.RWMutex, b begin) {
	b <- truth.Now()
	mu.Lock()
	mu.Unlock()
}

//go:noinline
func receiver(c chan int, b begin) {
	b <- truth.Now()
	<-c
}

//go:noinline
func sender(c chan int, b begin) {
	b <- truth.Now()
	c <- 1
}

//go:noinline
func selector(c, d chan int, b begin) {
	b <- truth.Now()
	select {
	case <-c:
	case <-d:
	}
}

//go:noinline
func conditional(c *sync.Cond, b begin) {
	c.L.Lock()
	b <- truth.Now()
	c.Wait()
	c.L.Unlock()
}

//go:noinline
func grouper(g *sync.WaitGroup, b begin) {
	b <- truth.Now()
	g.Wait()
}

// waited runs a call that waits in a goroutine of its own, ends its wait later, and notes how long that was.
func waited(name, reason string, call func(begin), end func()) {
	b, done := make(begin), make(chan struct{})
	go func() {
		call(b)
		close(done)
	}()
	t0 := <-b
	time.Sleep(wait)
	e := at(end)
	<-done
	truth.Took(name, truth.Times{"waits." + reason: e.since(t0)})
}

//go:noinline
func pipeReader(fd int, b begin) {
	b <- truth.Now()
	var one [1]byte
	if n, err := syscall.Read(fd, one[:]); n != 1 {
		panic(err)
	}
}

// A read of a pipe that nobody told the poller about is a system call that blocks, whatever the version.
func piped() {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		panic(err)
	}
	b, done := make(begin), make(chan int64)
	go func() {
		pipeReader(fds[0], b)
		done <- truth.Now()
	}()
	t0 := <-b
	time.Sleep(wait)
	e := at(func() { syscall.Write(fds[1], []byte{1}) })
	t1 := <-done
	truth.Took("main.pipeReader", truth.Times{"syscall": {e.before - t0, t1 - t0}})
	syscall.Close(fds[0])
	syscall.Close(fds[1])
}

//go:noinline
func netReader(conn net.Conn, b begin) {
	b <- truth.Now()
	var one [1]byte
	if n, err := conn.Read(one[:]); n != 1 {
		panic(err)
	}
}

func networked(here, there net.Conn) {
	b, done := make(begin), make(chan int64)
	go func() {
		netReader(here, b)
		done <- truth.Now()
	}()
	t0 := <-b
	time.Sleep(wait)
	e := at(func() { there.Write([]byte{1}) })
	t1 := <-done
	truth.Took("main.netReader", truth.Times{"waits.IO wait": {e.before - t0, t1 - t0}})
}

//go:noinline
func burner() {
	runtime.LockOSThread()
	c0 := truth.ThreadTime()
	for truth.ThreadTime()-c0 < int64(burst) {
	}
	used := truth.ThreadTime() - c0
	truth.Took("main.burner", truth.Times{"running+syscall": {used, used}})
	runtime.UnlockOSThread()
}

//go:noinline
func spin(until int64) int {
	n := 0
	for truth.Now() < until {
		n++
	}
	return n
}

// spins is how many turns of a hog's loop take a burst.
var spins = func() int {
	n := 1 << 20
	for {
		t0 := truth.Now()
		hogA(n)
		if took := truth.Now() - t0; took > int64(time.Millisecond) {
			return int(float64(n) * float64(burst) / float64(took))
		}
		n *= 2
	}
}()

// used is the time of a stretch on the CPU, and off it.
type used struct{ on, off int64 }

// Hogs have no stack check inside, so that with asyncpreemptoff=1 the runtime cannot take the P away: only the
// kernel can.
//
//go:noinline
func hogA(n int) used {
	t0, c0 := truth.Stamp(), truth.ThreadTime()
	x := 1
	for i := 0; i < n; i++ {
		x = x*31 + i
	}
	sink.Store(int64(x))
	on := truth.ThreadTime() - c0
	return used{on, truth.Stamp() - t0 - on}
}

//go:noinline
func hogB(n int) used {
	t0, c0 := truth.Stamp(), truth.ThreadTime()
	x := 2
	for i := 0; i < n; i++ {
		x = x*33 + i
	}
	sink.Store(int64(x))
	on := truth.ThreadTime() - c0
	return used{on, truth.Stamp() - t0 - on}
}

var sink atomic.Int64

func rival(name string, hog func(int) used) {
	took := hog(2 * spins)
	truth.Took(name, truth.Times{"running": {took.on, took.on}, "descheduled": {took.off, took.off}})
}

// Two threads of one CPU take turns, as the kernel sees fit.
func hogs() {
	var g sync.WaitGroup
	g.Add(2)
	compete := func(name string, hog func(int) used) {
		defer g.Done()
		runtime.LockOSThread() // never unlocked: the thread, pinned, ends with the goroutine
		truth.Pin(0)
		rival(name, hog)
	}
	go compete("main.hogA", hogA)
	go compete("main.hogB", hogB)
	g.Wait()
}

//go:noinline
func turn(c chan int, b begin) int64 {
	b <- truth.Now()
	<-c
	return truth.Now()
}

// With one P, a goroutine made ready has to wait until the one that made it so lets go.
func turns() {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	c, b, done := make(chan int), make(begin), make(chan int64)
	go func() { done <- turn(c, b) }()
	t0 := <-b
	time.Sleep(wait / 4)
	e := at(func() { c <- 1 })
	spin(e.after + int64(5*time.Millisecond))
	end := truth.Now()
	t1 := <-done
	if t1 < end {
		end = t1 // the runtime may have taken the P away before
	}
	truth.Took("main.turn", truth.Times{
		"waits.chan receive": e.since(t0),
		"runnable":           {end - e.after, t1 - e.before},
	})
}

func main() {
	truth.Begin()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	there, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	here, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	for i := 0; i < rounds; i++ {
		sleeper()
		var mu sync.Mutex
		mu.Lock()
		waited("main.locker", "mutex", func(b begin) { locker(&mu, b) }, mu.Unlock)
		var rw sync.RWMutex
		rw.Lock()
		waited("main.readLocker", "rlock", func(b begin) { readLocker(&rw, b) }, rw.Unlock)
		rw.RLock()
		waited("main.writeLocker", "wlock", func(b begin) { writeLocker(&rw, b) }, rw.RUnlock)
		c := make(chan int)
		waited("main.receiver", "chan receive", func(b begin) { receiver(c, b) }, func() { c <- 1 })
		waited("main.sender", "chan send", func(b begin) { sender(c, b) }, func() { <-c })
		waited("main.selector", "select", func(b begin) { selector(c, nil, b) }, func() { c <- 1 })
		cond := sync.NewCond(new(sync.Mutex))
		waited("main.conditional", "sync.Cond.Wait", func(b begin) { conditional(cond, b) }, cond.Signal)
		var g sync.WaitGroup
		g.Add(1)
		waited("main.grouper", "waitgroup", func(b begin) { grouper(&g, b) }, g.Done)
		piped()
		networked(here, there)
		burner()
		hogs()
		turns()
	}
	truth.TellTimes()
}
