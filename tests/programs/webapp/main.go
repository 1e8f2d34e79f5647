// Command webapp has handlers of every kind, and functions that look like handlers; it asks itself over HTTP.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"undergo.test/programs/internal/truth"
	"undergo.test/programs/webapp/store"
)

const rounds = 7

var (
	plainCount   = truth.Of("main.plain")
	methodCount  = truth.Of("main.(*server).method")
	servesCount  = truth.Of("main.(*server).ServeHTTP")
	valueCount   = truth.Of("main.answer.ServeHTTP")
	closureCount = truth.Of("main.closure.func1")
	grpcCount    = truth.Of("main._Greeter_SayHello_Handler")
	clientCount  = truth.Of("net/http.(*Client).do")
	tripCount    = truth.Of("net/http.(*Transport).roundTrip")
)

//go:noinline
func plain(w http.ResponseWriter, r *http.Request) {
	plainCount.Enter()
	defer plainCount.Leave()
	helper(w, r, 1)
	if failing(w, r) != nil {
		backwards(r, w)
	}
}

type server struct{ n int }

//go:noinline
func (s *server) method(w http.ResponseWriter, r *http.Request) {
	methodCount.Enter()
	defer methodCount.Leave()
	fmt.Fprintln(w, s.n)
}

//go:noinline
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	servesCount.Enter()
	defer servesCount.Leave()
	fmt.Fprintln(w, s.n)
}

type answer string

//go:noinline
func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	valueCount.Enter()
	defer valueCount.Leave()
	fmt.Fprintln(w, string(a))
}

//go:noinline
func closure(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		closureCount.Enter()
		defer closureCount.Leave()
		func(more int, w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, text, more) }(len(text), w, r)
	}
}

// What follows are no handlers.

//go:noinline
func helper(w http.ResponseWriter, r *http.Request, more int) { fmt.Fprintln(w, r.URL, more) }

//go:noinline
func failing(w http.ResponseWriter, r *http.Request) error { return r.Context().Err() }

//go:noinline
func backwards(r *http.Request, w http.ResponseWriter) { fmt.Fprintln(w, r.URL) }

// As protoc-gen-go-grpc names and types it.
//
//go:noinline
func _Greeter_SayHello_Handler(srv any, ctx context.Context, dec func(any) error) (any, error) {
	grpcCount.Enter()
	defer grpcCount.Leave()
	return srv, dec(srv)
}

func main() {
	truth.Begin()
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", plain)
	mux.HandleFunc("/method", (&server{1}).method)
	mux.Handle("/serves", &server{2})
	mux.Handle("/value", answer("3"))
	mux.HandleFunc("/closure", closure("4"))
	mux.HandleFunc("/health", store.Health)
	mux.Handle("/redirect", http.RedirectHandler("/plain", http.StatusFound))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, mux)
	db := store.Open()
	for i := 0; i < rounds; i++ {
		for _, path := range []string{"plain", "method", "serves", "value", "closure", "health", "redirect"} {
			clientCount.Enter()
			trips := 1
			if path == "redirect" {
				trips = 2
			}
			for n := 0; n < trips; n++ {
				tripCount.Enter()
			}
			answer, err := http.Get(fmt.Sprintf("http://%s/%s", listener.Addr(), path))
			if err != nil {
				panic(err)
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			clientCount.Leave()
			for n := 0; n < trips; n++ {
				tripCount.Leave()
			}
		}
		_Greeter_SayHello_Handler(i, context.Background(), func(any) error { return nil })
		store.Ask(db)
	}
	truth.Tell()
}
