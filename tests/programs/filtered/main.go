// Command filtered calls one function in many ways and says with what, so that it is known which calls a filter takes.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

type base struct{ Zone string }

// Request is what a call is about.
type Request struct {
	base
	Method string
	Price  float64
	Small  float32
	Tags   map[string]int
	Next   *Request
}

// Call is what a call was given and gave back.
type Call struct {
	N      int
	Name   string
	U      uint8
	I      int16
	Ok     bool
	Items  int
	NoTags bool
	Nil    bool // no request
	Method string
	Zone   string
	Price  float64
	Small  float32
	Deep   string // the method of the next but one request, "-" if there is none
	R      int
	Failed bool
}

var bad = errors.New("bad")

//go:noinline
func handle(n int, name string, u uint8, i int16, ok bool, items []int, req *Request) (int, error) {
	if n%7 == 3 {
		return -n, bad
	}
	return n * int(u), nil
}

//go:noinline
func spilled(a, b, c, d, e, f, g, h, j int, name string, req Request) (out string, err error) {
	if len(name) > 3 {
		err = bad
	}
	return name + req.Method, err
}

func main() {
	names := []string{"", "bob", "bobby", "alice", "a name that is longer than sixty-four bytes, as some of them really are"}
	methods := []string{"GET", "POST", "DELETE"}
	var calls []Call
	for n := -20; n < 40; n++ {
		name, u, i := names[(n+20)%5], uint8(n*5), int16(n*-700)
		ok := n%3 == 0
		var items []int
		if n%4 != 0 {
			items = make([]int, (n+20)%6)
		}
		call := Call{N: n, Name: name, U: u, I: i, Ok: ok, Items: len(items), Deep: "-", NoTags: true}
		var req *Request
		if n%5 != 0 {
			req = &Request{base: base{names[(n+21)%4]}, Method: methods[(n+20)%3], Price: float64(n) / 4, Small: float32(-n) / 8}
			if n%2 == 0 {
				req.Tags = map[string]int{"a": 1, "b": n}
				call.NoTags = false
			}
			if n%3 == 1 {
				req.Next = &Request{Method: "x", Next: &Request{Method: methods[(n+21)%3]}}
				call.Deep = req.Next.Next.Method
			}
			call.Method, call.Zone, call.Price, call.Small = req.Method, req.Zone, req.Price, req.Small
		} else {
			call.Nil = true
		}
		r, err := handle(n, name, u, i, ok, items, req)
		call.R, call.Failed = r, err != nil
		calls = append(calls, call)
		plain := Request{Method: call.Method, Price: call.Price}
		spilled(n, 2, 3, 4, 5, 6, 7, 8, 9, name, plain)
	}
	text, err := json.Marshal(calls)
	if err != nil {
		panic(err)
	}
	fmt.Println("CALLS " + string(text))
}
