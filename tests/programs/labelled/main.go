// Command labelled makes calls on goroutines with the profiler's labels, and with contexts that have deadlines.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

// Request is what handlers are given.
type Request struct {
	Header map[string][]string
	Path   *string
	Number int
}

//go:noinline
func handle(ctx context.Context, r *Request) (int, error) {
	return r.Number, nil
}

//go:noinline
func plain(n int) int {
	return n + 1
}

func with(ctx context.Context, number int, path string) {
	r := &Request{map[string][]string{"Host": {"me"}, "Accept": {"a", "b"}}, &path, number}
	handle(ctx, r)
	plain(number)
}

// tenant n makes n calls of each; its goroutine has two labels, and one more that its own children have.
func tenant(n int) {
	labels := pprof.Labels("tenant", "t"+strconv.Itoa(n), "an odd one", "x y\x1b")
	pprof.Do(context.Background(), labels, func(ctx context.Context) {
		for i := 0; i < n; i++ {
			with(ctx, i, "/labelled")
		}
	})
	with(context.Background(), n, "/plain")
}

func main() {
	var all sync.WaitGroup
	for n := 1; n <= 4; n++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			tenant(n)
		}(n)
	}
	all.Wait()
	start := time.Now()
	inner, cancel := context.WithDeadline(context.WithValue(context.Background(), "k", 1), start.Add(time.Hour))
	defer cancel()
	child, stop := context.WithCancel(inner)
	defer stop()
	late, end := context.WithDeadline(context.Background(), start.Add(-time.Minute))
	defer end()
	never, over := context.WithCancel(context.Background())
	defer over()
	for round := 0; round < 2; round++ { // what interfaces hold is looked into once it was met
		with(inner, 100, "timer")
		with(child, 101, "child")
		with(late, 102, "late")
		with(never, 103, "never")
		with(context.Background(), 104, "background")
		time.Sleep(300 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "START", start.UnixNano())
}
