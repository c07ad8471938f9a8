package reconcile

import (
	"container/heap"
	"sync"
)

// A schedule hands out steps to workers: each when what it waits for has ended and, of those that could begin, the one that stands first
// in the plan. So an interrupted run has finished most images that it began. It is safe for concurrent use.
type schedule struct {
	mu      sync.Mutex
	changed sync.Cond
	ready   queue
	running int
}

func newSchedule(all []*step) *schedule {
	s := &schedule{}
	s.changed.L = &s.mu
	for _, st := range all {
		if st.waits == 0 {
			s.ready = append(s.ready, st) // in the plan's order, which is a heap's
		}
	}
	return s
}

// next waits for a step that can begin. It returns nil when none ever will.
func (s *schedule) next() *step {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) == 0 && s.running > 0 {
		s.changed.Wait()
	}
	if len(s.ready) == 0 {
		return nil
	}
	s.running++
	return heap.Pop(&s.ready).(*step)
}

// ended releases the steps that waited for this one.
func (s *schedule) ended(st *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	for _, n := range st.then {
		if n.waits--; n.waits == 0 {
			heap.Push(&s.ready, n)
		}
	}
	s.changed.Broadcast()
}

// queue is a heap of steps by their place in the plan.
type queue []*step

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*step)) }

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
