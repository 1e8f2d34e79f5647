package main

import (
	"fmt"
	"net/http"
	"strconv"
)

func (s *shop) handleOrder(w http.ResponseWriter, r *http.Request) {
	served.order.Add(1)
	o, err := parseOrder(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.price = s.priceOrder(o)
	if err := s.reserve(o); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	charge(o)
	if err := s.writeReceipt(o); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "order %d: %d cents\n", o.id, o.price)
}

func (s *shop) handleSearch(w http.ResponseWriter, r *http.Request) {
	served.search.Add(1)
	fmt.Fprintln(w, s.search(r.URL.Query().Get("q")))
}

func (s *shop) handleCheckout(w http.ResponseWriter, r *http.Request) {
	served.checkout.Add(1)
	n, err := strconv.Atoi(r.URL.Query().Get("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%x\n", <-s.sign(n))
}

func handleHealth(w http.ResponseWriter, r *http.Request) {
	served.health.Add(1)
	fmt.Fprintln(w, "ok")
}

// parseOrder panics on an id that is a multiple of 50: somebody forgot an index.
//
//go:noinline
func parseOrder(r *http.Request) (*order, error) {
	n, err := strconv.Atoi(r.URL.Query().Get("id"))
	if err != nil {
		return nil, fmt.Errorf("no order: %w", err)
	}
	items := []string{"tea", "cup", "pot", "jam"}[:n%4]
	if n%50 == 0 {
		items = items[:n%4+9]
	}
	return &order{id: n, items: items}, nil
}
