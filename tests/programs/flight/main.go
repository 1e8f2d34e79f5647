// Command flight does what it is told on its standard input, and once told to go, ticks all the time.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"time"
)

//go:noinline
func tick(n int) int {
	return n + 1
}

// serve is open as long as the program runs.
//
//go:noinline
func serve(n int) {
	for ; ; time.Sleep(time.Millisecond) {
		if n = tick(n); n == 200 {
			fmt.Println("GOING")
		}
	}
}

//go:noinline
func handle(what string) error {
	defer func() { _ = recover() }()
	return work(what)
}

//go:noinline
func work(what string) error {
	switch what {
	case "slow":
		time.Sleep(300 * time.Millisecond)
	case "panic":
		panic(what)
	case "fail":
		return errors.New("as I was told")
	}
	return nil
}

func main() {
	fmt.Println("READY")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "go" {
			go serve(0)
			continue
		}
		_ = handle(lines.Text())
	}
}
