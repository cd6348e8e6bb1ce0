package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A second signal ends a draining server at once; the echo of the first one does not, nor does SIGHUP.
func TestEchoOfSignal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		sig   os.Signal
		want  error
	}{
		{"echo", 0, syscall.SIGTERM, nil},
		{"insists", time.Second, syscall.SIGTERM, errKilled},
		{"insists by another", time.Second, syscall.SIGINT, errKilled},
		{"reload", time.Second, syscall.SIGHUP, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done, signals := make(chan error), make(chan os.Signal, 1)
				ended := make(chan error)
				go func() { ended <- awaitEnd(done, signals) }()
				synctest.Wait()
				time.Sleep(tt.after)
				signals <- tt.sig
				synctest.Wait()
				if tt.want == nil {
					done <- nil
				}
				if got := <-ended; got != tt.want {
					t.Errorf("ended with %v, want %v", got, tt.want)
				}
			})
		})
	}
}
