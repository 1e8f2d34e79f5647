// Command coroutines waits a known time for values of iter.Pull, which switches goroutines without the scheduler.
package main

import (
	"iter"
	"time"

	"undergo.test/programs/internal/truth"
)

const (
	rounds = 5
	values = 10
	pause  = 2 * time.Millisecond
)

// puller waits in each next() for the other goroutine, which sleeps: all its own time is a wait for it.
//
//go:noinline
func puller(slow bool) int {
	var slept int64
	seq := func(yield func(int) bool) {
		for i := 0; i < values; i++ {
			if slow {
				t0 := truth.Now()
				time.Sleep(pause)
				slept += truth.Now() - t0
			}
			if !yield(i) {
				return
			}
		}
	}
	t0 := truth.Now()
	next, stop := iter.Pull(iter.Seq[int](seq))
	sum := 0
	for {
		v, ok := next()
		if !ok {
			break
		}
		sum += v
	}
	stop()
	if slow {
		truth.Took("main.puller", truth.Times{"waits.coroutine": {slept, truth.Now() - t0}})
	}
	return sum
}

// switcher makes as many switches as it can: no switch may be missed, or the call has a gap.
//
//go:noinline
func switcher() int {
	n := 0
	for i := 0; i < 200; i++ {
		n += puller(false)
	}
	return n
}

func main() {
	for i := 0; i < rounds; i++ {
		puller(true)
	}
	switcher()
	truth.TellTimes()
}
