package console

import (
	"time"

	"signalbox/location"
)

// Status is the server itself: GET /v1/status.
type Status struct {
	Version       string    `json:"version"`
	PID           int       `json:"pid"`
	Started       time.Time `json:"started"`
	Domains       []string  `json:"domains"`
	Listening     []string  `json:"listening"`
	Users         int       `json:"users"`
	Registrations int       `json:"registrations"`
	Subscriptions int       `json:"subscriptions"`
	Transactions  int       `json:"transactions"` // without a final response
	Kept          int       `json:"kept"`         // transactions in all, those that only wait for retransmissions included
	Refused       uint64    `json:"refused"`      // requests answered 503 so far, for want of room or time
	Goroutines    int       `json:"goroutines"`
	Heap          uint64    `json:"heap"` // bytes of live and dead objects
	Draining      bool      `json:"draining,omitempty"`

	Media *Media `json:"media,omitempty"` // absent where no media are bridged
	TURN  *TURN  `json:"turn,omitempty"`  // nil where there is none
}

// Media are the calls whose media pass through here, echoes included. What ends in "_total" only grows, from the start of the server.
type Media struct {
	Calls            int64  `json:"calls"`        // now
	CallsTotal       int64  `json:"calls_total"`  // that ever began
	SilentTotal      int64  `json:"silent_total"` // ended because a side had fallen silent
	HandshakesTotal  int64  `json:"handshakes_total"`
	HandshakesFailed int64  `json:"handshakes_failed_total"`
	Sockets          int    `json:"sockets"` // of phones
	Received         uint64 `json:"packets_received_total"`
	ReceivedBytes    uint64 `json:"bytes_received_total"`
	Lost             uint64 `json:"packets_lost_total"` // on their way to us
	Sent             uint64 `json:"packets_sent_total"`
	SentBytes        uint64 `json:"bytes_sent_total"`
}

// Account is a user as it is listed: GET /v1/users. HA1 values are never shown.
type Account struct {
	User       string    `json:"user"` // alice@example.org
	Created    time.Time `json:"created"`
	Algorithms []string  `json:"algorithms"` // digest algorithms the account can use
	Contacts   int       `json:"contacts"`   // live registrations
}

// Credentials set an account: POST and PUT /v1/users, and each line of POST /v1/import.
type Credentials struct {
	User   string `json:"user"`
	MD5    string `json:"ha1,omitempty"`
	SHA256 string `json:"ha1_sha256,omitempty"`
}

// Registration is an address-of-record with its contacts: GET /v1/registrations.
type Registration struct {
	AOR      string    `json:"aor"` // sip:alice@example.org
	Contacts []Contact `json:"contacts"`
}

// Contact is one binding.
type Contact struct {
	Contact   string    `json:"contact"`
	Q         float64   `json:"q"`
	Expires   int       `json:"expires"` // seconds that are left
	Transport string    `json:"transport"`
	Source    string    `json:"source"` // where the REGISTER came from
	Behind    bool      `json:"behind_nat"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	Instance  string    `json:"instance,omitempty"`
	RegID     int       `json:"reg_id,omitempty"` // of a flow: RFC 5626, 6
	Path      []string  `json:"path,omitempty"`   // proxies it is reached by: RFC 3327, 5.3
	UserAgent string    `json:"user_agent,omitempty"`
	CallID    string    `json:"call_id"`
	CSeq      uint32    `json:"cseq"`
}

// sourceOf is where a binding comes from; "" for one that an administrator made.
func sourceOf(b location.Binding) string {
	if !b.Flow.Remote.IsValid() {
		return ""
	}
	return b.Flow.Remote.String()
}

func contactOf(b location.Binding, now time.Time) Contact {
	return Contact{
		Contact:   b.Contact.Raw,
		Q:         float64(b.Q) / 1000,
		Expires:   max(0, int(b.Expires.Sub(now).Round(time.Second)/time.Second)),
		Transport: b.Flow.Proto.String(),
		Source:    sourceOf(b),
		Behind:    b.Behind,
		Created:   b.Created,
		Updated:   b.Updated,
		Instance:  b.InstanceID,
		RegID:     b.RegID,
		Path:      b.Path,
		UserAgent: b.UserAgent,
		CallID:    b.CallID,
		CSeq:      b.CSeq,
	}
}
