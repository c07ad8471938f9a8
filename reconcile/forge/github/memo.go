package github

import "sync"

// A memo remembers what was found for a key; for errors it asks again. Concurrent callers with the same key share one search. Its zero value is ready.
type memo[K comparable, V any] struct {
	mu    sync.Mutex
	cells map[K]*cell[V]
}

type cell[V any] struct {
	mu    sync.Mutex
	known bool
	value V
}

func (m *memo[K, V]) get(key K, find func() (V, error)) (V, error) {
	m.mu.Lock()
	if m.cells == nil {
		m.cells = map[K]*cell[V]{}
	}
	c := m.cells[key]
	if c == nil {
		c = &cell[V]{}
		m.cells[key] = c
	}
	m.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known {
		return c.value, nil
	}
	v, err := find()
	if err == nil {
		c.known, c.value = true, v
	}
	return v, err
}
