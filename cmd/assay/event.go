package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An event is what started a workflow of GitHub Actions, as far as it says where a report belongs ("Events that trigger workflows" in GitHub's documentation).
type event struct {
	Pull   int      // the pull request that it is about; 0 for none
	Commit string   // that it is about; empty if that isn't said
	Ref    string   // of the commit, such as "refs/heads/main"; empty if that isn't said
	Push   pushed   // zero if nothing was pushed
	Run    finished // zero if no run has ended
}

// pushed is a push to a branch.
type pushed struct{ Before, After, Branch string }

// finished is a run of another workflow that has ended. What it left behind, others may have made.
type finished struct{ Owner, Branch, Commit string }

// maxEvent bounds the file that describes the event.
const maxEvent = 32 << 20

// readEvent reads the event that GitHub Actions tells of; elsewhere it is zero.
func readEvent() (event, error) {
	name, file := os.Getenv("GITHUB_EVENT_NAME"), os.Getenv("GITHUB_EVENT_PATH")
	if name == "" || file == "" {
		return event{}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return event{}, fmt.Errorf("read the workflow's event: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEvent+1))
	if err != nil {
		return event{}, fmt.Errorf("read the workflow's event: %w", err)
	}
	if len(data) > maxEvent {
		return event{}, fmt.Errorf("the workflow's event is longer than %d bytes", maxEvent)
	}
	return parseEvent(name, data)
}

func parseEvent(name string, data []byte) (event, error) {
	type commit struct{ SHA string }
	var in struct {
		Number        int
		Before, After string
		Ref           string
		PullRequest   struct {
			Number int
			Head   commit
		} `json:"pull_request"`
		MergeGroup struct {
			HeadSHA string `json:"head_sha"`
			HeadRef string `json:"head_ref"`
		} `json:"merge_group"`
		WorkflowRun struct {
			Event          string
			HeadBranch     string                                 `json:"head_branch"`
			HeadSHA        string                                 `json:"head_sha"`
			HeadRepository struct{ Owner struct{ Login string } } `json:"head_repository"`
		} `json:"workflow_run"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return event{}, fmt.Errorf("the workflow's event can't be read: %s", misread(err))
	}
	switch name {
	case "pull_request", "pull_request_target", "pull_request_review":
		number := cmp.Or(in.PullRequest.Number, in.Number)
		if number <= 0 {
			return event{}, errors.New("the workflow's event names no pull request")
		}
		return event{Pull: number, Commit: in.PullRequest.Head.SHA, Ref: fmt.Sprintf("refs/pull/%d/head", number)}, nil
	case "push":
		branch, ok := strings.CutPrefix(in.Ref, "refs/heads/")
		if !ok { // a tag
			return event{Commit: in.After, Ref: in.Ref}, nil
		}
		if strings.Trim(in.After, "0") == "" { // the branch was deleted
			return event{}, nil
		}
		return event{Commit: in.After, Ref: in.Ref, Push: pushed{Before: in.Before, After: in.After, Branch: branch}}, nil
	case "merge_group":
		return event{Commit: in.MergeGroup.HeadSHA, Ref: in.MergeGroup.HeadRef}, nil
	case "workflow_run":
		r := in.WorkflowRun
		if r.Event != "pull_request" {
			return event{Commit: r.HeadSHA}, nil
		}
		return event{Commit: r.HeadSHA, Run: finished{Owner: r.HeadRepository.Owner.Login, Branch: r.HeadBranch, Commit: r.HeadSHA}}, nil
	}
	return event{Commit: os.Getenv("GITHUB_SHA"), Ref: os.Getenv("GITHUB_REF")}, nil
}
