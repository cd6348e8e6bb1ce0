// Package phone is the phone page: a web phone for the accounts of this server at /phone, and the element <sip-phone> at /sip-phone.js, which other pages
// embed. Package main serves its Handler beside SIP over WebSocket (RFC 7118), which the page speaks.
//
// The sources are in src: JavaScript with Lit and JsSIP. `go generate` fetches these two by npm and bundles them with esbuild into dist, which is committed,
// so that nobody needs Node to build Signalbox. The page keeps to a strict Content-Security-Policy. It is a handful of files in memory: that is its bound.
package phone

//go:generate go run generate.go
