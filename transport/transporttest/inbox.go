package transporttest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Connection is a connection that can have several rooms.
type Connection interface {
	Reader
	// Say sends one event with one argument.
	Say(event string, data any) error
	// Mute makes the client answer no signs of life.
	Mute()
	// read returns the next message as an Item.
	read() (Item, error)
}

// inbox is what connections with rooms have in common.
type inbox struct {
	cursor string
	queue  []Item
	told   bool // the server said why it would close
	single bool // there is one room, and its end is the end
	over   bool // that has come
}

// open subscribes to one room; more are members of that message.
func (b *inbox) open(c Connection, o Opening, more map[string]any) error {
	b.single = true
	b.cursor = cmp.Or(o.Cursor, o.Query)
	more["jobId"], more["lastEventId"], more["from"] = o.Job, b.cursor, o.From
	if o.Tail != "" {
		more["tail"] = json.RawMessage(o.Tail)
	}
	if err := c.Say("subscribe", more); err != nil {
		return err
	}
	for {
		it, err := c.read()
		if err != nil {
			return err
		}
		if it.Name == "problem" {
			return refusalOf(it.Data)
		}
		b.queue = append(b.queue, it)
		if it.Name == "subscribed" {
			return nil
		}
	}
}

// refusalOf makes a refusal of a problem that came as a message.
func refusalOf(problem json.RawMessage) error {
	var p struct{ Status int }
	if err := json.Unmarshal(problem, &p); err != nil {
		return fmt.Errorf("problem %q: %w", problem, err)
	}
	return &Refusal{Status: p.Status, Header: http.Header{}, Body: problem}
}

// take turns an event of the server into an item.
func (b *inbox) take(event string, data json.RawMessage) (Item, error) {
	it, err := newItem(event, data)
	switch event {
	case "error": // what other transports call a problem
		b.told = true
		it.Name = "problem"
	case "reconnect":
		b.told = true
	}
	return it, err
}

// next is the Next of a connection. A connection that the server closes after it
// has said why has ended cleanly, and so has that of one room after its `end`.
func (b *inbox) next(c Connection) (Item, error) {
	var it Item
	var err error
	switch {
	case len(b.queue) > 0:
		it, b.queue = b.queue[0], b.queue[1:]
	case b.over:
		return Item{}, io.EOF
	default:
		it, err = c.read()
	}
	var end *closed
	switch {
	case errors.As(err, &end) && b.told:
		return Item{}, io.EOF
	case err != nil:
		return Item{}, fmt.Errorf("%w: %w", ErrCut, err)
	}
	if it.ID != "" {
		b.cursor = it.ID
	}
	if it.Name == "end" && b.single {
		b.over = true
		c.Close()
	}
	return it, nil
}

// Cursor implements Reader.
func (b *inbox) Cursor() string { return b.cursor }
