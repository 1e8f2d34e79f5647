// Package truth counts calls where they happen and prints the account that undergo is compared with.
//
// A counter is entered first thing in a function and left by a deferred-free call at its end, so that what was
// entered and not left tells how many frames were unwound.
package truth

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
)

// Count is one function's account; its fields are added to atomically.
type Count struct {
	Calls   int64 `json:"calls"`
	Returns int64 `json:"returns"`
	Panics  int64 `json:"panics"`
	Goexits int64 `json:"goexits"`
	Open    int64 `json:"open"`
}

var counts = map[string]*Count{}

// Of makes the counter of a function; call it while initialising.
func Of(name string) *Count {
	c := &Count{}
	counts[name] = c
	return c
}

// Enter counts a call.
func (c *Count) Enter() { atomic.AddInt64(&c.Calls, 1) }

// Leave counts a return.
func (c *Count) Leave() { atomic.AddInt64(&c.Returns, 1) }

// Panic counts calls that a panic unwound.
func (c *Count) Panic(n int) { atomic.AddInt64(&c.Panics, int64(n)) }

// Goexit counts calls that runtime.Goexit unwound.
func (c *Count) Goexit(n int) { atomic.AddInt64(&c.Goexits, int64(n)) }

// StayOpen counts calls that never end.
func (c *Count) StayOpen(n int) { atomic.AddInt64(&c.Open, int64(n)) }

// Begin holds the program back until a line arrives, if UNDERGO_WAIT=1.
func Begin() {
	if os.Getenv("UNDERGO_WAIT") == "1" {
		fmt.Println("READY")
		bufio.NewReader(os.Stdin).ReadString('\n')
	}
}

// Line is the account as one line.
func Line() string {
	text, err := json.Marshal(map[string]any{"calls": counts})
	if err != nil {
		panic(err)
	}
	return "TRUTH " + string(text)
}

// Tell prints the account.
func Tell() { fmt.Println(Line()) }

// Load sets the counters from an earlier Line.
func Load(line string) {
	var earlier struct{ Calls map[string]Count }
	if len(line) < 6 || json.Unmarshal([]byte(line[6:]), &earlier) != nil {
		return
	}
	for name, c := range earlier.Calls {
		if mine := counts[name]; mine != nil {
			*mine = c
		}
	}
}
