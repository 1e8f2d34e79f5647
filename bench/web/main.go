// Command web is both ends of a benchmark: `web serve` answers HTTP requests until its input ends, `web load URL
// CONNECTIONS SECONDS` asks as fast as it can and prints how many answers came a second.
package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// hello does next to nothing: what it costs is net/http, and what tracing adds shows most.
//
//go:noinline
func hello(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	fmt.Fprintf(w, "hello %s, this is answer number %d\n", strings.ToUpper(name), answers.Add(1))
}

// item is one of a catalogue's.
type item struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Price float64  `json:"price"`
	Tags  []string `json:"tags"`
}

// catalogue does what many handlers do: it reads a JSON query, filters and sorts, and answers in JSON, compressed.
//
//go:noinline
func catalogue(w http.ResponseWriter, r *http.Request) {
	query := struct{ Below float64 }{100}
	if err := json.NewDecoder(strings.NewReader(r.URL.Query().Get("q"))).Decode(&query); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var found []item
	for _, one := range items {
		if one.Price < query.Below {
			found = append(found, one)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Price < found[j].Price })
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	zip := writers.Get().(*gzip.Writer)
	zip.Reset(w)
	json.NewEncoder(zip).Encode(found)
	zip.Close()
	writers.Put(zip)
}

var (
	writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	items   = func() (all []item) {
		for i := 0; i < 300; i++ {
			all = append(all, item{i, fmt.Sprint("item number ", i), float64(i * 37 % 101), []string{"a", "tag"}})
		}
		return all
	}()
)

// never is what a tracer may probe so that nothing is hit.
//
//go:noinline
func never(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

var answers atomic.Int64

func serve() {
	http.HandleFunc("/hello", hello)
	http.HandleFunc("/catalogue", catalogue)
	http.HandleFunc("/never", never)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go http.Serve(listener, nil)
	io.Copy(io.Discard, os.Stdin)
}

func load(url string, connections int, seconds float64) {
	// compressed answers are left as they are: a browser would unpack them elsewhere
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}
	var all sync.WaitGroup
	var done atomic.Int64
	begin := time.Now()
	until := begin.Add(time.Duration(seconds * float64(time.Second)))
	for i := 0; i < connections; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Now().Before(until) {
				answer, err := client.Get(url)
				if err != nil {
					panic(err)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				done.Add(1)
			}
		}()
	}
	all.Wait()
	fmt.Printf("%.0f\n", float64(done.Load())/time.Since(begin).Seconds())
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	connections, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[4], 64)
	if err != nil {
		panic(err)
	}
	load(os.Args[2], connections, seconds)
}
