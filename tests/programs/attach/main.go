// Attach: busy until a line arrives, for attaching and detaching under load.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"time"

	"undergo.test/programs/internal/truth"
)

var (
	cOuter = truth.Of("main.outer")
	cInner = truth.Of("main.inner")
)

//go:noinline
func inner(n int) int {
	cInner.Enter()
	r := n * 3
	cInner.Leave()
	return r
}

//go:noinline
func outer(n int) int {
	cOuter.Enter()
	r := inner(n) + inner(n+1)
	cOuter.Leave()
	return r
}

func main() {
	fmt.Println("READY")
	stop := make(chan bool)
	var all sync.WaitGroup
	for w := 0; w < 4; w++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				outer(i)
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	bufio.NewReader(os.Stdin).ReadString('\n')
	close(stop)
	all.Wait()
	truth.Tell()
}
