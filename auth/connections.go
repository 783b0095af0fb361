package auth

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unique"
)

// ErrNoConnection: the client has no such connection.
var ErrNoConnection = errors.New("no such connection")

// ErrSentAway is why a stream ended whose connection was ended by an administrator.
var ErrSentAway = errors.New("an administrator has ended this connection")

// Shown is a live stream as Connections shows it.
type Shown interface {
	// ID names it among all connections. It never changes, and asking takes no lock.
	ID() string
}

// Connection is one live stream of this node, and who has it.
type Connection struct {
	Number    uint64 // grows with each that is opened
	Kind      string
	Client    string
	KeyID     string
	KeyName   string
	TokenID   string // empty: it was opened with the key itself
	Since     time.Time
	Addr      netip.Addr // where it was opened from; not valid: nobody told
	UserAgent string     // empty: nobody told
	Stream    Shown
}

// maxAgent bounds what is kept of a User-Agent, in bytes: it is a stranger's to choose.
const maxAgent = 128

// Agent is a User-Agent. All connections that came with the same one share a copy.
type Agent struct{ text unique.Handle[string] }

// NewAgent keeps the printable beginning of a User-Agent.
func NewAgent(text string) (a Agent) {
	if len(text) > maxAgent {
		text = text[:maxAgent]
	}
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if text != "" {
		a.text = unique.Make(text)
	}
	return a
}

func (a Agent) String() string {
	if a == (Agent{}) {
		return ""
	}
	return a.text.Value()
}

// Show makes the slot's stream one of Connections. It is called at most once.
func (slot *Slot) Show(stream Shown) {
	slot.streams.mu.Lock()
	defer slot.streams.mu.Unlock()
	slot.shown = stream
}

// Connections returns at most limit of a client's connections, oldest first, of those
// whose numbers are greater than after. It looks at all of the client's connections
// once, and asks none of them anything.
func (s *Streams) Connections(client string, after uint64, limit int) []Connection {
	slots := s.shownOf(client, func(slot *Slot) bool { return slot.number > after })
	slices.SortFunc(slots, func(a, b *Slot) int { return cmp.Compare(a.number, b.number) })
	slots = slots[:min(limit, len(slots))]
	page := make([]Connection, len(slots))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, slot := range slots {
		h := slot.holder
		page[i] = Connection{
			Number: slot.number, Kind: slot.kind, Client: h.client, KeyID: h.key, KeyName: h.keyName,
			Since: time.UnixMilli(slot.since), Addr: slot.addr, UserAgent: slot.agent.String(), Stream: slot.shown,
		}
		page[i].TokenID, _ = strings.CutPrefix(h.name, tokenCredential)
		if page[i].TokenID == h.name {
			page[i].TokenID = ""
		}
	}
	return page
}

// End tells a client's connection to end, with ErrSentAway. One that was told to end
// before is not told again. Error: ErrNoConnection.
func (s *Streams) End(client, id string) error {
	found := s.shownOf(client, func(slot *Slot) bool { return slot.shown.ID() == id })
	if len(found) == 0 {
		return ErrNoConnection
	}
	s.mu.Lock()
	found = slices.DeleteFunc(found, func(slot *Slot) bool { return slot.ended })
	for _, slot := range found {
		slot.ended = true
	}
	s.mu.Unlock()
	s.callEnd(found, ErrSentAway)
	return nil
}

// shownOf returns those of a client's connections that are wanted.
func (s *Streams) shownOf(client string, wanted func(*Slot) bool) (found []*Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.holders {
		if h.client != client {
			continue
		}
		for slot := range h.live {
			if slot.shown != nil && wanted(slot) {
				found = append(found, slot)
			}
		}
	}
	return found
}
