package builtin

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// runs sorts more than memory should hold: sorted parts go to files, which are merged in the end. That way a database is written from its
// beginning to its end, page by page, in as much memory for a million records as for a thousand.
type runs struct {
	dir     string
	buffer  []pair
	bytes   int
	written int
}

// A pair has the time at which its record was modified, in nanoseconds: of two with one key the newer one counts.
type pair struct {
	key, value []byte
	modified   int64
}

const (
	runBytes = 32 << 20 // held in memory
	maxPair  = 64 << 20 // bytes of a key or a value
)

func before(a, b pair) int {
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c
	}
	switch {
	case a.modified > b.modified:
		return -1
	case a.modified < b.modified:
		return 1
	}
	return bytes.Compare(a.value, b.value)
}

func (r *runs) add(p pair) error {
	r.buffer = append(r.buffer, p)
	if r.bytes += len(p.key) + len(p.value) + 100; r.bytes < runBytes {
		return nil
	}
	return r.flush()
}

func (r *runs) name(i int) string { return filepath.Join(r.dir, fmt.Sprintf("run-%d", i)) }

func (r *runs) flush() error {
	slices.SortFunc(r.buffer, before)
	f, err := os.Create(r.name(r.written))
	if err != nil {
		return err
	}
	r.written++
	w := bufio.NewWriterSize(f, 1<<20)
	for _, p := range r.buffer {
		if err = writePair(w, p); err != nil {
			break
		}
	}
	clear(r.buffer)
	r.buffer, r.bytes = r.buffer[:0], 0
	return errors.Join(err, w.Flush(), f.Close())
}

func writePair(w *bufio.Writer, p pair) error {
	var head [3 * binary.MaxVarintLen64]byte
	h := binary.AppendVarint(head[:0], p.modified)
	h = binary.AppendUvarint(h, uint64(len(p.key)))
	h = binary.AppendUvarint(h, uint64(len(p.value)))
	for _, b := range [][]byte{h, p.key, p.value} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func readPair(r *bufio.Reader) (p pair, err error) {
	if p.modified, err = binary.ReadVarint(r); err != nil {
		return p, err
	}
	for _, into := range []*[]byte{&p.key, &p.value} {
		n, err := binary.ReadUvarint(r)
		if err != nil || n > maxPair {
			return p, errors.Join(err, io.ErrUnexpectedEOF)
		}
		*into = make([]byte, n)
	}
	for _, b := range [][]byte{p.key, p.value} {
		if _, err := io.ReadFull(r, b); err != nil {
			return p, err
		}
	}
	return p, nil
}

// each calls do with every key in order, once, with its newest value.
func (r *runs) each(do func(pair) error) error {
	if err := r.flush(); err != nil {
		return err
	}
	var h runHeap
	for i := range r.written {
		f, err := os.Open(r.name(i))
		if err != nil {
			return err
		}
		defer f.Close()
		next := &run{r: bufio.NewReaderSize(f, 256<<10)}
		if err := next.advance(); err == nil {
			h = append(h, next)
		} else if !errors.Is(err, io.EOF) {
			return err
		}
	}
	heap.Init(&h)
	var last []byte
	for len(h) > 0 {
		p := h[0].at
		if last == nil || !bytes.Equal(last, p.key) {
			if err := do(p); err != nil {
				return err
			}
			last = p.key
		}
		err := h[0].advance()
		switch {
		case err == nil:
			heap.Fix(&h, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&h)
		default:
			return err
		}
	}
	return nil
}

// A run is one sorted file, and its next pair.
type run struct {
	r  *bufio.Reader
	at pair
}

func (r *run) advance() (err error) {
	r.at, err = readPair(r.r)
	return err
}

// runHeap is a heap of runs, the one with the least pair on top: container/heap.
type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return before(h[i].at, h[j].at) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *runHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
