// Growth: fresh goroutines whose stacks are copied while traced calls are open.
package main

import "undergo.test/programs/internal/truth"

var (
	cBig   = truth.Of("main.big")
	cChain = truth.Of("main.chain")
)

//go:noinline
func big(n int) byte {
	cBig.Enter()
	var room [3000]byte
	room[n%3000] = byte(n)
	r := room[(n*7)%3000]
	cBig.Leave()
	return r
}

//go:noinline
func chain(n int) int {
	cChain.Enter()
	var room [700]byte
	room[n%700] = 1
	r := int(room[n%700])
	if n > 0 {
		r += chain(n - 1)
	}
	r += int(big(n))
	cChain.Leave()
	return r
}

func main() {
	truth.Begin()
	done := make(chan int)
	for i := 0; i < 500; i++ {
		go func(n int) { done <- chain(n % 12) }(i)
		if i%4 == 3 {
			for j := 0; j < 4; j++ {
				<-done
			}
		}
	}
	truth.Tell()
}
