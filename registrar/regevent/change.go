package regevent

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"signalbox/location"
)

// change is an event of the state machine of a contact. RFC 3680, 4.7.1
type change struct {
	id      string
	event   string
	gone    bool // terminated, else active
	binding *location.Binding
}

// difference is what happened to the contacts of an address, in the words of RFC 3680, 4.7 and 4.7.1.
func difference(before, after []location.Binding, why location.Reason, now time.Time) []change {
	var list []change
	old := make(map[string]*location.Binding, len(before))
	for i := range before {
		old[contactID(&before[i])] = &before[i]
	}
	for i := range after {
		b := &after[i]
		id := contactID(b)
		was := old[id]
		delete(old, id)
		switch {
		case was == nil && why == location.Created:
			list = append(list, change{id: id, event: "created", binding: b})
		case was == nil:
			list = append(list, change{id: id, event: "registered", binding: b})
		case b.Expires.Equal(was.Expires) && b.Updated.Equal(was.Updated):
		case why == location.Shortened:
			list = append(list, change{id: id, event: "shortened", binding: b})
		default:
			list = append(list, change{id: id, event: "refreshed", binding: b})
		}
	}
	for i := range before {
		b := &before[i]
		if id := contactID(b); old[id] == b {
			list = append(list, change{id: id, event: ending(b, why, now), gone: true, binding: b})
		}
	}
	return list
}

// ending is why a contact is gone.
func ending(b *location.Binding, why location.Reason, now time.Time) string {
	switch {
	case !now.Before(b.Expires):
		return "expired"
	case why == location.Deactivated, why == location.Probation, why == location.Rejected, why == location.Expired:
		return string(why)
	}
	return "unregistered"
}

// standing is the event that a contact of a full document shows: the one that brought it where it is.
func standing(b *location.Binding) string {
	if b.Updated.After(b.Created) {
		return "refreshed"
	}
	return "registered"
}

// contactID is the same for equal contacts and differs for others (RFC 3680, 5.1): a hash of the URI with all its parameters. Two flows of one phone may register one
// URI (RFC 5626, 4.2): they are two contacts.
func contactID(b *location.Binding) string {
	h := fnv.New64a()
	u := &b.Contact
	for _, part := range [...]string{u.Scheme, u.User, u.Password, u.Host, strconv.Itoa(u.Port), strings.ToLower(u.Params), u.Headers} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	if u.Host == "" {
		h.Write([]byte(u.Raw))
	}
	if b.RegID != 0 {
		h.Write([]byte(b.InstanceID))
		h.Write([]byte(strconv.Itoa(b.RegID)))
	}
	return strconv.FormatUint(h.Sum64(), 36)
}
