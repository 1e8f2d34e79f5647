// Methods: method values, promoted methods whose wrappers jump, interface calls.
package main

import "undergo.test/programs/internal/truth"

var (
	cRing  = truth.Of("main.(*bell).ring")
	cCount = truth.Of("main.bell.count")
	cCall  = truth.Of("main.call")
)

type ringer interface{ ring(int) int }

type bell struct{ n int }

//go:noinline
func (b *bell) ring(k int) int {
	cRing.Enter()
	b.n += k
	cRing.Leave()
	return b.n
}

//go:noinline
func (b bell) count(k int) int {
	cCount.Enter()
	r := b.n + k
	cCount.Leave()
	return r
}

type counter interface{ count(int) int }

type tower struct {
	name string
	*bell
}

//go:noinline
func call(r ringer, k int) int {
	cCall.Enter()
	v := r.ring(k)
	cCall.Leave()
	return v
}

func main() {
	truth.Begin()
	t := tower{"t", &bell{}}
	var rs = []ringer{&bell{}, t, &t}
	var cs = []counter{bell{}, &bell{}, t, &t}
	value, bound := rs[1].ring, t.bell.count
	for i := 0; i < 300; i++ {
		call(rs[i%3], i)
		value(i)
		bound(i)
		cs[i%4].count(i)
	}
	truth.Tell()
}
