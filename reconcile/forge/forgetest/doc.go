// Package forgetest is a GitHub in this process, for tests: it keeps state, works on a real Git repository, and answers in the shapes of GitHub's REST
// API as its documentation gives them ("REST API endpoints", version 2022-11-28). Run is the suite that every forge passes.
package forgetest
