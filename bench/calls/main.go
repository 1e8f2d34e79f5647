// Command calls calls a function over and over and prints how many ns one call took.
package main

import (
	"fmt"
	"os"
	"time"
)

const calls = 50_000

//go:noinline
func greet(name string, n int) int { return len(name) + n }

func main() {
	name := "a name of some length"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	sum := 0
	for i := 0; i < 1000; i++ {
		sum += greet(name, i)
	}
	begin := time.Now()
	for i := 0; i < calls; i++ {
		sum += greet(name, i)
	}
	took := time.Since(begin)
	fmt.Fprintf(os.Stderr, "NS %d (%d)\n", took.Nanoseconds()/calls, sum)
}
