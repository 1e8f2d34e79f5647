// Panics: recovered at several depths, nested, raised again, raised in deferred functions, and 2,001 deep.
package main

import "undergo.test/programs/internal/truth"

var (
	cThrow   = truth.Of("main.throw")
	cMiddle  = truth.Of("main.middle")
	cCatch   = truth.Of("main.catch")
	cAfter   = truth.Of("main.after")
	cAgain   = truth.Of("main.again")
	cDefers  = truth.Of("main.defers")
	cCleanup = truth.Of("main.cleanup")
	cNested  = truth.Of("main.nested")
	cFall    = truth.Of("main.fall")
)

//go:noinline
func throw(n int) int {
	cThrow.Enter()
	if n%2 == 0 {
		cThrow.Panic(1)
		panic(n)
	}
	cThrow.Leave()
	return n
}

//go:noinline
func middle(n int) int {
	cMiddle.Enter()
	if n%2 == 0 {
		cMiddle.Panic(1)
	}
	r := throw(n)
	cMiddle.Leave()
	return r
}

//go:noinline
func after(n int) int {
	cAfter.Enter()
	cAfter.Leave()
	return n
}

//go:noinline
func catch(n int) (r int) {
	cCatch.Enter()
	defer cCatch.Leave()
	defer func() {
		if recover() != nil {
			r = after(n)
		}
	}()
	return middle(n)
}

// again recovers and panics anew.
//go:noinline
func again(n int) {
	cAgain.Enter()
	defer func() {
		recover()
		cAgain.Panic(1)
		panic("again")
	}()
	after(n)
	panic("first")
}

// cleanup panics while a panic is under way.
//go:noinline
func cleanup(n int) {
	cCleanup.Enter()
	after(n)
	cCleanup.Panic(1)
	panic("in cleanup")
}

//go:noinline
func defers(n int) {
	cDefers.Enter()
	cDefers.Panic(1)
	defer cleanup(n)
	panic("in defers")
}

// nested recovers a panic inside a deferred function while another one is under way.
//go:noinline
func nested(n int) {
	cNested.Enter()
	cNested.Panic(1)
	defer func() { catch(0) }()
	panic("outer")
}

//go:noinline
func fall(n int) {
	cFall.Enter()
	cFall.Panic(1)
	if n == 0 {
		panic("bottom")
	}
	fall(n - 1)
}

func quietly(f func()) {
	defer func() { recover() }()
	f()
}

func main() {
	truth.Begin()
	for i := 0; i < 100; i++ {
		catch(i)
		quietly(func() { again(i) })
		quietly(func() { defers(i) })
		quietly(func() { nested(i) })
		after(i)
	}
	for i := 0; i < 3; i++ {
		quietly(func() { fall(2000) })
	}
	truth.Tell()
}
