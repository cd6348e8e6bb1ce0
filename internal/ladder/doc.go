// Package ladder is the written form of a SIP conversation: one line a message, with its time, as in the call flows of RFC 3665.
//
//	# RFC 3261, 17.1.1.2: an INVITE without an answer is repeated.
//	  0.000s  alice -> proxy  INVITE sip:bob@example.org
//	  0.000s  proxy -> alice  100 Trying
//	  0.000s  proxy -> bob    INVITE sip:bob@192.0.2.2
//	              Max-Forwards: 69
//	  0.500s  proxy -> bob    INVITE sip:bob@192.0.2.2
//	60s  end
//
// A Script is such a file; Trace prints a message from the field in the same form, so that it becomes a regression test; laddertest plays a
// Script against a server. A line is bounded by what it shows; a Script comes from the source tree, never from a peer.
//
// # The file
//
// Lines that begin with # are comments: the first cite the sentence that the ladder proves. Then come the directives (package laddertest says which),
// then the entries in order of time:
//
//	TIME  FROM -> TO  METHOD [URI]  [FLAGS]      a request
//	TIME  FROM -> TO  CODE REASON (METHOD)       a response; (METHOD) is left out for INVITE
//	TIME  PHONE closes                           the phone closes its connections, or its UDP port
//	TIME  end                                    nothing happens before; nothing is left alive
//
// Indented lines belong to the entry above:
//
//	Name: value      a phone sends this header instead of its own; the server's header must be this, * stands for anything. Given several
//	                 times, the server must send exactly so many.
//	+Name: value     a phone sends this header above its own of that name
//	-Name            a phone leaves this header out; the server must not send it
//	| text           a line of the body
package ladder
