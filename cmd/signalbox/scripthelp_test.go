package main

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// checkStatus runs a command and compares its exit code: status 2 signalbox user foo.
func checkStatus(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// waitForServer waits until the server of a data directory answers: waitfor DIR.
func waitForServer(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := ts.MkAbs(args[0])
	for {
		conn, err := dialControl(ctx, dir)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s: %v", dir, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
