package truth

import (
	"encoding/json"
	"fmt"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Times is what one call knows of its own time: bounds in ns, by bin ("running", "waiting+runnable") or wait
// reason ("waits.sleep"). Measured on one machine, a truth has an uncertainty, so it is an interval.
type Times map[string][2]int64

var (
	timesLock sync.Mutex
	times     = map[string][]Times{}
	start     = time.Now()
)

// Now is monotonic time in ns.
func Now() int64 { return int64(time.Since(start)) }

// Took notes what a call of a function knows; calls of one function must not overlap.
func Took(name string, t Times) {
	timesLock.Lock()
	times[name] = append(times[name], t)
	timesLock.Unlock()
}

// TellTimes prints what was noted.
func TellTimes() {
	text, err := json.Marshal(times)
	if err != nil {
		panic(err)
	}
	fmt.Println("TIMES " + string(text))
}

const (
	monotonic  = 1 // CLOCK_MONOTONIC
	threadTime = 3 // CLOCK_THREAD_CPUTIME_ID
)

// ThreadTime is the CPU time of the calling thread in ns. It has no stack check, where the runtime could take the
// goroutine off its thread.
//
//go:nosplit
func ThreadTime() int64 { return clock(threadTime) }

// Stamp is monotonic time in ns, of another epoch than Now; it has no stack check either.
//
//go:nosplit
func Stamp() int64 { return clock(monotonic) }

//go:nosplit
func clock(id uintptr) int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&t)), 0)
	return t.Sec*1e9 + t.Nsec
}

// Pin lets the calling thread run on one CPU only.
func Pin(cpu int) {
	var set [16]uint64
	set[cpu/64] = 1 << (cpu % 64)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set))); errno != 0 {
		panic(errno)
	}
}
