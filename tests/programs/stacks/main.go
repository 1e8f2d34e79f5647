// Command stacks says, of every call of leaf, which functions called it: as the runtime sees it, inlined ones included.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"
)

var (
	out  = bufio.NewWriter(os.Stderr)
	lock sync.Mutex
)

//go:noinline
func leaf(number int) int {
	say(number)
	return number
}

//go:noinline
func say(number int) {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	found := []string{}
	for {
		frame, more := frames.Next()
		found = append(found, fmt.Sprintf("%s (%s:%d)", frame.Function, filepath.Base(frame.File), frame.Line))
		if !more {
			break
		}
	}
	lock.Lock()
	defer lock.Unlock()
	json.NewEncoder(out).Encode(map[string]any{"number": number, "stack": found})
}

func small(number int) int { return leaf(number) + 1 }

func smaller(number int) int { return small(number) + 1 }

//go:noinline
func deep(number, depth int) int {
	if depth == 0 {
		return smaller(number)
	}
	return deep(number, depth-1) + 1
}

type shape interface{ area(int) int }

type square struct{ side int }

func (s square) area(number int) int { return leaf(number) * s.side }

type byNumber []int

func (b byNumber) Len() int           { return len(b) }
func (b byNumber) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b byNumber) Less(i, j int) bool { return leaf(100+b[i]) < leaf(200+b[j]) }

func main() {
	leaf(1)
	smaller(2)
	deep(3, 0)
	deep(4, 20)
	var s shape = square{2}
	s.area(5)
	func() {
		defer func() { recover(); leaf(6) }()
		panic("six")
	}()
	sort.Sort(byNumber{3, 1})
	var done sync.WaitGroup
	for i := 0; i < 4; i++ {
		done.Add(1)
		go func(i int) {
			defer done.Done()
			deep(10+i, 3)
		}(i)
	}
	done.Wait()
	var once sync.Once
	once.Do(func() { smaller(7) })
	out.Flush()
}
