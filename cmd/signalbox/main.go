// Command signalbox is a SIP registrar and proxy: this package reads the configuration, assembles the rooms, dispatches requests to them and serves
// the command line. It is the only place that knows all rooms (docs/architecture.md). REGISTER for a domain of ours goes to the registrar, everything
// else to the proxy. What bounds it: the rooms' own limits, those of the configuration file ([limits]), and limits.go.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
