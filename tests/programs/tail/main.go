// Command tail makes trees of calls, most of them uneventful, and says which were slow, failed or panicked.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Tree is what became of one outermost call.
type Tree struct {
	N, Calls     int
	Kept, Panics bool
}

//go:noinline
func step(n, i int) int {
	if n%10 == 4 && i == 1 {
		time.Sleep(20 * time.Millisecond)
	}
	if n%10 == 7 && i == 2 {
		panic("step")
	}
	return n + i
}

//go:noinline
func root(n int) (sum int, err error) {
	for i := 0; i < 1+n%4; i++ {
		sum += step(n, i)
	}
	if n%10 == 9 {
		err = errors.New("nine")
	}
	return sum, err
}

func main() {
	trees := make([]Tree, 60)
	for n := range trees {
		done := make(chan Tree)
		go func(n int) {
			tree := Tree{N: n, Calls: 1 + n%4}
			defer func() {
				if recover() != nil {
					tree.Kept, tree.Panics, tree.Calls = true, true, 3
				}
				done <- tree
			}()
			_, err := root(n)
			tree.Kept = err != nil || n%10 == 4 && n%4 >= 1
		}(n)
		trees[n] = <-done
	}
	text, err := json.Marshal(trees)
	if err != nil {
		panic(err)
	}
	fmt.Println("TREES " + string(text))
}
