package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

type order struct {
	id    int
	items []string
	price int
}

type job struct {
	id     int
	answer chan [sha256.Size]byte
}

type shop struct {
	lock     sync.Mutex // one for all the stock, which is the trouble with it
	stock    map[string]int
	jobs     chan job
	receipts string // a folder
}

func newShop() (*shop, error) {
	folder, err := os.MkdirTemp("", "shop")
	s := &shop{stock: map[string]int{}, jobs: make(chan job), receipts: folder}
	for i := 0; i < 2; i++ {
		go s.worker()
	}
	return s, err
}

// The functions below would be inlined, and could then not be seen: hence go:noinline.

//go:noinline
func (s *shop) priceOrder(o *order) int {
	price := 100
	for range o.items {
		price += s.lookUp(o.id)
	}
	return price
}

// lookUp burns a little CPU, and much of it for every 40th order: the slow tail.
//
//go:noinline
func (s *shop) lookUp(id int) int {
	rounds := 20
	if id%40 == 0 {
		rounds = 20000
	}
	return int(hash(id, rounds)[0])
}

//go:noinline
func hash(id, rounds int) [sha256.Size]byte {
	sum := sha256.Sum256([]byte(fmt.Sprint(id)))
	for i := 0; i < rounds; i++ {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

var errSoldOut = errors.New("sold out")

//go:noinline
func (s *shop) reserve(o *order) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	time.Sleep(300 * time.Microsecond) // with the lock held
	for _, item := range o.items {
		s.stock[item]++
	}
	if o.id%33 == 0 {
		return errSoldOut
	}
	return nil
}

// charge asks a partner who takes a while.
//
//go:noinline
func charge(o *order) {
	wait := 2 * time.Millisecond
	if o.id%20 == 0 {
		wait = 25 * time.Millisecond
	}
	time.Sleep(wait)
}

//go:noinline
func (s *shop) writeReceipt(o *order) error {
	name := filepath.Join(s.receipts, fmt.Sprint(o.id%100))
	return os.WriteFile(name, []byte(strings.Join(o.items, "\n")), 0o600)
}

//go:noinline
func (s *shop) search(query string) int {
	s.lock.Lock()
	defer s.lock.Unlock()
	found := 0
	for item, count := range s.stock {
		if strings.Contains(item, query) {
			found += count
		}
	}
	return found
}

// sign hands the work to the pool.
//
//go:noinline
func (s *shop) sign(id int) chan [sha256.Size]byte {
	answer := make(chan [sha256.Size]byte, 1)
	s.jobs <- job{id, answer}
	return answer
}

func (s *shop) worker() {
	for j := range s.jobs {
		j.answer <- hash(j.id, 2000)
	}
}

// keepBusy starts clients that ask for everything in turn, on this machine only, until `end`.
func keepBusy(base string, clients, pace int, end time.Time) {
	for c := 0; c < clients; c++ {
		go func(c int) {
			tick := time.NewTicker(time.Second * time.Duration(clients) / time.Duration(max(pace, 1)))
			defer tick.Stop()
			for n := c; time.Now().Before(end); n += clients {
				<-tick.C
				path := [...]string{"/order?id=%d", "/search?q=t&n=%d", "/order?id=%d", "/checkout?id=%d", "/health?%d"}[n%5]
				if answer, err := http.Get(base + fmt.Sprintf(path, n)); err == nil {
					answer.Body.Close()
				}
			}
		}(c)
	}
}
