package transport

import "net/http"

// Allows tells whether the page that sent a web request may have an answer: the same pages that may connect.
func (o *Origins) Allows(r *http.Request) bool { return o.allow(r) }
