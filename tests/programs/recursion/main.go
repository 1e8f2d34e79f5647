// Recursion: direct, mutual, and 20,001 frames deep.
package main

import "undergo.test/programs/internal/truth"

var (
	cFact = truth.Of("main.fact")
	cEven = truth.Of("main.even")
	cOdd  = truth.Of("main.odd")
	cDeep = truth.Of("main.deep")
)

//go:noinline
func fact(n int) int {
	cFact.Enter()
	r := 1
	if n > 1 {
		r = n * fact(n-1)
	}
	cFact.Leave()
	return r
}

//go:noinline
func even(n int) bool {
	cEven.Enter()
	r := true
	if n > 0 {
		r = odd(n - 1)
	}
	cEven.Leave()
	return r
}

//go:noinline
func odd(n int) bool {
	cOdd.Enter()
	r := false
	if n > 0 {
		r = even(n - 1)
	}
	cOdd.Leave()
	return r
}

//go:noinline
func deep(n int) int {
	cDeep.Enter()
	r := 0
	if n > 0 {
		r = deep(n-1) + 1
	}
	cDeep.Leave()
	return r
}

func main() {
	truth.Begin()
	for i := 0; i < 50; i++ {
		fact(i % 12)
		even(i)
	}
	deep(20000)
	truth.Tell()
}
