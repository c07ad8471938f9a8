package program

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// interval is how often what a program uses is looked at. A single process can't have more than its limit of memory even between two looks.
const interval = 100 * time.Millisecond

// watch ends a program that uses, with all its children, more memory than it may, or that has too many of them. The kernel counts such sums in
// control groups alone, which few callers may make. The function that it returns stops watching, and says what was too much; it is empty if nothing was.
func watch(pid int, o Options, stop func()) func() string {
	done := make(chan struct{})
	var excess string
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
			}
			if excess = o.exceeded(usageOf(pid)); excess != "" {
				stop()
				return
			}
		}
	})
	return func() string {
		close(done)
		wg.Wait()
		return excess
	}
}

func (o Options) exceeded(u usage) string {
	switch {
	case u.memory > o.Memory:
		return fmt.Sprintf("it and its children used more than %d bytes of memory", o.Memory)
	case u.processes > o.Processes:
		return fmt.Sprintf("it started more than %d processes", o.Processes)
	}
	return ""
}

type usage struct {
	processes int
	memory    int64 // bytes that are in memory and in no file
}

const enough = 10_000 // processes, after which it doesn't matter how many more there are

// usageOf adds up a process and what descends from it. In a process namespace orphans become children of its first process, so none is missed.
func usageOf(pid int) usage {
	var u usage
	for todo := []string{strconv.Itoa(pid)}; len(todo) > 0 && u.processes < enough; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		u.processes++
		u.memory += resident(next)
		threads, _ := os.ReadDir("/proc/" + next + "/task")
		for _, t := range threads {
			children, _ := os.ReadFile("/proc/" + next + "/task/" + t.Name() + "/children")
			for _, c := range bytes.Fields(children) {
				todo = append(todo, string(c))
			}
		}
	}
	return u
}

// resident reads proc_pid_status(5). A process that has just ended has nothing.
func resident(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	var sum int64
	for _, name := range []string{"\nRssAnon:", "\nRssShmem:"} {
		if _, rest, ok := bytes.Cut(status, []byte(name)); ok {
			kib, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			sum += kib << 10
		}
	}
	return sum
}
