// Command cgocalls spends known times in C: asleep in the kernel, computing, and calling back into Go.
package main

/*
#include <time.h>
#include <stdint.h>

extern void goCallback(int);

static void c_sleep(long ns) {
	struct timespec t = { 0, ns };
	nanosleep(&t, 0);
}

static int64_t c_stamp(int id) {
	struct timespec t;
	clock_gettime(id, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// Burns CPU time of its thread; returns how much.
static int64_t c_burn(int64_t ns) {
	int64_t begin = c_stamp(CLOCK_THREAD_CPUTIME_ID), used;
	volatile int x = 0;
	do {
		for (int i = 0; i < 100000; i++)
			x += i;
		used = c_stamp(CLOCK_THREAD_CPUTIME_ID) - begin;
	} while (used < ns);
	return used;
}

static void c_call(int n) { goCallback(n); }
*/
import "C"

import (
	"time"

	"undergo.test/programs/internal/truth"
)

const (
	rounds = 5
	long   = 20 * time.Millisecond
)

//go:noinline
func sleeper() {
	t0 := truth.Now()
	C.c_sleep(C.long(long))
	truth.Took("main.sleeper", truth.Times{"syscall": {int64(long), truth.Now() - t0}})
}

//go:noinline
func burner() {
	used := int64(C.c_burn(C.int64_t(long)))
	truth.Took("main.burner", truth.Times{"running+syscall": {used, used}})
}

//go:noinline
func caller(n int) { C.c_call(C.int(n)) }

// Called by C, on the same goroutine: its frame lies on the same stack, under caller's.
//
//export goCallback
func goCallback(n C.int) { called(int(n)) }

//go:noinline
func called(n int) {
	t0 := truth.Now()
	time.Sleep(long)
	took := [2]int64{int64(long), truth.Now() - t0}
	truth.Took("main.called", truth.Times{"waits.sleep": took})
	truth.Took("main.caller", truth.Times{"waits.sleep": took})
}

func main() {
	for i := 0; i < rounds; i++ {
		sleeper()
		burner()
		caller(i)
	}
	truth.TellTimes()
}
