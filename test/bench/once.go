package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/registry/serve"
)

// A result is what one run of one tool cost, and whether it did the job.
type result struct {
	tool                           string
	took                           time.Duration
	sourceRequests, targetRequests int
	sourceBytes, targetBytes       int64 // read from the source, written to the target
	connections                    int64
	peak                           int64  // bytes of memory
	problem                        string // empty if every tag is right
}

// once runs a tool in a scenario, on new registries.
func once(s scenario, t tool, dir, bin string) (result, error) {
	data, list, err := prepare(dir, s.workload)
	if err != nil {
		return result{}, err
	}
	work, err := os.MkdirTemp(dir, "run-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(work)
	into := filepath.Join(work, "target")
	if s.target != "" {
		if err := clone(data, into); err != nil {
			return result{}, err
		}
	}
	before := ""
	if s.target == "before" {
		before = list
		if data, list, err = prepareChanged(dir, s.workload); err != nil {
			return result{}, err
		}
	}
	source, err := start(data)
	if err != nil {
		return result{}, err
	}
	defer source.stop()
	target, err := start(into)
	if err != nil {
		return result{}, err
	}
	defer target.stop()
	for i, r := range []*running{source, target} {
		f := s.faults
		f.Seed = uint64(i + 1)
		r.Disturb(f)
	}
	if s.auth {
		source.Protect(&registrytest.Guard{User: user, Password: password, Anonymous: true})
		target.Protect(&registrytest.Guard{User: user, Password: password})
	}
	j := job{source: source.host, target: target.host, list: list, before: before, dir: work, auth: s.auth}
	r, err := measure(t, j, bin)
	if err != nil {
		return r, err
	}
	r.sourceRequests, r.targetRequests = source.Count("", ""), target.Count("", "")
	r.sourceBytes, r.targetBytes = source.Sent(), target.Received()
	r.connections = max(source.Connections(), target.Connections())
	if os.Getenv("BENCH_DETAIL") != "" {
		fmt.Fprintln(os.Stderr, t.name, s.name, r.took, "source", source.Summary(), "target", target.Summary())
	}
	target.Disturb(registrytest.Faults{})
	target.Protect(nil)
	if r.problem == "" {
		r.problem = verify(j)
	}
	return r, nil
}

// measure runs the tool.
func measure(t tool, j job, bin string) (result, error) {
	r := result{tool: t.name}
	cmd, err := t.command(j, bin)
	if err != nil {
		return r, err
	}
	if cmd.Env, err = environment(j); err != nil {
		return r, err
	}
	// GNU time measures the memory: what the system says of a direct child includes this large process before the child began
	peak := filepath.Join(j.dir, "peak")
	if gnu, err := exec.LookPath("time"); err == nil {
		cmd.Args = append([]string{gnu, "-q", "-f", "%M", "-o", peak, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = gnu
	}
	var said strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.dir, io.Discard, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	alarm := time.AfterFunc(tooLong, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err = cmd.Wait()
	r.took = time.Since(started)
	if !alarm.Stop() {
		r.problem = "gave up after " + tooLong.String()
	} else if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		r.problem = "failed"
		if os.Getenv("BENCH_DETAIL") != "" {
			r.problem += ": " + lines[len(lines)-1]
		}
	}
	if told, err := os.ReadFile(peak); err == nil {
		if kib, err := strconv.ParseInt(strings.TrimSpace(string(told)), 10, 64); err == nil {
			r.peak = kib << 10
		}
	}
	return r, nil
}

// verify asks the target for every tag.
func verify(j job) string {
	entries, err := readList(j.list)
	if err != nil {
		return err.Error()
	}
	var group errgroup.Group
	group.SetLimit(16)
	for _, e := range entries {
		group.Go(func() error {
			req, err := http.NewRequest(http.MethodHead, "http://"+j.target+"/v2/"+e.repo+"/manifests/"+e.tag, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if got := resp.Header.Get("Docker-Content-Digest"); got != e.digest {
				return fmt.Errorf("%s:%s is wrong", e.repo, e.tag)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err.Error()
	}
	return ""
}

// running is a registry on a folder.
type running struct {
	*registrytest.Traffic
	host string
	stop func()
}

func start(dir string) (*running, error) {
	handler, stop, err := serve.Handler(dir)
	if err != nil {
		return nil, err
	}
	traffic := registrytest.NewTraffic(handler)
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: traffic, ConnState: traffic.ConnState, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	return &running{traffic, listener.Addr().String(), func() { _ = server.Close(); stop() }}, nil
}
