// Package transaction is the transaction layer: the client and server machines of RFC 3261, 17.1 and 17.2 as changed by RFC 6026 and
// RFC 4320, matching (RFC 3261, 17.1.3 and 17.2.3), CANCEL (RFC 3261, 9.1 and 9.2) and merged requests (RFC 3261, 8.2.2.2).
//
// transport calls Layer.ReceiveRequest and Layer.ReceiveResponse on the goroutine that reads the flow, message by message. The layer finds or
// makes the transaction and runs the message as an event of the transaction's Owner, which also gets the transaction's timers. A new
// request goes up to the Handler (the proxy or the registrar), which answers on the Server, at once or later; what a Client hears goes to
// its User. A proxied call's server and client transactions share one Owner, so that all of a call happens one event at a time.
//
// There is one goroutine, the timing wheel's. What bounds the room is in limits.go: transactions in all, events waiting for one owner. A
// completed transaction keeps its key and its last response, nothing of the request.
package transaction
