// Shop is a small web service with everything that is worth seeing in a trace: a contended lock, a pool of
// workers, files, a slow partner, hashing, errors, and a panic that its middleware recovers.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

var served struct{ order, search, checkout, health, panics atomic.Int64 }

func main() {
	address := flag.String("addr", "127.0.0.1:0", "where to listen")
	clients := flag.Int("load", 0, "clients of its own that keep it busy")
	pace := flag.Int("pace", 200, "requests a second, of all these clients")
	duration := flag.Duration("duration", time.Minute, "how long to run")
	flag.Parse()

	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	shop, err := newShop()
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(shop.receipts)
	mux := http.NewServeMux()
	mux.HandleFunc("/order", shop.handleOrder)
	mux.HandleFunc("/search", shop.handleSearch)
	mux.HandleFunc("/checkout", shop.handleCheckout)
	mux.HandleFunc("/health", handleHealth)
	go http.Serve(listener, recovering(mux))
	base := "http://" + listener.Addr().String()
	fmt.Printf("shop: pid %d\nshop: listening on %s\n", os.Getpid(), base)

	end := time.Now().Add(*duration)
	keepBusy(base, *clients, *pace, end)
	time.Sleep(time.Until(end))
	json.NewEncoder(os.Stdout).Encode(map[string]int64{
		"order": served.order.Load(), "search": served.search.Load(), "checkout": served.checkout.Load(),
		"health": served.health.Load(), "panics": served.panics.Load(),
	})
}

// recovering answers 500 where a handler panicked.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if trouble := recover(); trouble != nil {
				served.panics.Add(1)
				http.Error(w, fmt.Sprint(trouble), http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
