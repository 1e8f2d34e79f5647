// Named results set by a deferred recover: the function returns once, through its deferreturn path.
package main

import (
	"errors"

	"undergo.test/programs/internal/truth"
)

var (
	cSafe  = truth.Of("main.safe")
	cRisky = truth.Of("main.risky")
)

//go:noinline
func risky(n int) int {
	cRisky.Enter()
	if n%3 == 0 {
		cRisky.Panic(1)
		panic("third")
	}
	cRisky.Leave()
	return n
}

//go:noinline
func safe(n int) (result int, err error) {
	cSafe.Enter()
	defer func() {
		if recover() != nil {
			result, err = -1, errors.New("recovered")
		}
		cSafe.Leave()
	}()
	return risky(n), nil
}

func main() {
	truth.Begin()
	wrong := 0
	for i := 0; i < 600; i++ {
		if r, err := safe(i); (i%3 == 0) != (err != nil) || (err == nil && r != i) {
			wrong++
		}
	}
	if wrong > 0 {
		panic("results were disturbed")
	}
	truth.Tell()
}
