// Command outofline calls a function that is inlined in one place and called in another.
package main

import "os"

func small(a int8, s string) int { return int(a) + len(s) }

var called = small

//go:noinline
func call(f func(int8, string) int) int { return f(-5, "hello") }

func main() {
	n := small(3, os.Args[0])
	if call(called) != 0 || n < 0 {
		panic("outofline")
	}
}
