package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
)

// The child is a second process of this program. It serves one running job the
// way `jobcast serve` does and, on its standard input, takes orders that the
// real server has no door for: to append events from inside.

// hello is the first line that the child prints.
type hello struct {
	Addr netip.AddrPort `json:"addr"`
	Key  string         `json:"key"`
	Job  string         `json:"job"`
}

// order is one line of the child's input; each is answered with one line.
type order struct {
	Do     string `json:"do"`
	Events int    `json:"events,omitempty"` // of append: how many
	Rate   int    `json:"rate,omitempty"`   // of append: how many a second
}

// The orders.
const (
	orderAppend = "append" // answered with published
	orderSettle = "settle" // give free memory back; answered with {}
)

// runChild serves until its input or ctx ends.
func runChild(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	flags := flag.NewFlagSet(childCommand, flag.ContinueOnError)
	data := flags.String("data", "", "the data folder")
	profile := flags.String("profile", "", "`file` for a CPU profile of the appends and their deliveries")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *data == "" {
		return errors.New("-data is missing")
	}
	s, err := newChildServer(ctx, *data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(s.hello); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	for o := range orders(ctx, in) {
		var answer any = struct{}{}
		switch o.Do {
		case orderSettle:
			debug.FreeOSMemory()
		case orderAppend:
			err := profiled(*profile, func() (err error) {
				answer, err = appendAtRate(ctx, s.service, s.lease, o.Events, o.Rate)
				return err
			})
			if err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown order %q", o.Do)
		}
		if err := answers.Encode(answer); err != nil {
			return fmt.Errorf("answer order: %w", err)
		}
	}
	return nil
}

// orders reads lines until in or ctx ends. The goroutine that reads cannot be
// told to stop while in is silent; it ends with the process.
func orders(ctx context.Context, in io.Reader) func(yield func(order) bool) {
	lines := make(chan order)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			var o order
			if json.Unmarshal(scan.Bytes(), &o) != nil {
				o = order{Do: scan.Text()} // refused as unknown
			}
			select {
			case lines <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(yield func(order) bool) {
		for {
			select {
			case o, ok := <-lines:
				if !ok || !yield(o) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
