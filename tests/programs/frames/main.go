// Frames of every shape: none, huge, many RETs, more arguments than registers, closures.
package main

import "undergo.test/programs/internal/truth"

var (
	cHuge    = truth.Of("main.huge")
	cMany    = truth.Of("main.many")
	cArgs    = truth.Of("main.args")
	cVaried  = truth.Of("main.varied")
	leaves   int
	nothings int
)

// leaf has no frame and no call: it is counted by its caller, so that it stays that way.
//go:noinline
func leaf(n int) int { return n*n + leaves }

// nothing is a single RET.
//go:noinline
func nothing() {}

//go:noinline
func huge(n int) byte {
	cHuge.Enter()
	var room [100000]byte
	room[n] = byte(n)
	r := room[(n*31)%100000]
	cHuge.Leave()
	return r
}

//go:noinline
func many(n int) int {
	cMany.Enter()
	cMany.Leave()
	switch n % 5 {
	case 0:
		return leaves + 1
	case 1:
		return n * 3
	case 2:
		return n - leaves
	case 3:
		return n / 2
	}
	return -n
}

//go:noinline
func args(a, b, c, d, e, f, g, h, i, j, k, l int) int {
	cArgs.Enter()
	r := a + b + c + d + e + f + g + h + i + j + k + l
	cArgs.Leave()
	return r
}

//go:noinline
func varied(ns ...int) int {
	cVaried.Enter()
	r := 0
	for _, n := range ns {
		r += n
	}
	cVaried.Leave()
	return r
}

func main() {
	truth.Begin()
	cLeaf, cNothing := truth.Of("main.leaf"), truth.Of("main.nothing")
	sum := 0
	for i := 0; i < 400; i++ {
		sum += leaf(i)
		cLeaf.Enter()
		cLeaf.Leave()
		nothing()
		cNothing.Enter()
		cNothing.Leave()
		if i%10 == 0 {
			done := make(chan byte)
			go func() { done <- huge(i) }()
			<-done
		}
		many(i)
		args(i, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		varied(i, i, i)
	}
	if sum == nothings {
		panic("optimised away")
	}
	truth.Tell()
}
