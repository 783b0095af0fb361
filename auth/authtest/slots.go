// Package authtest tests what package auth asks of others, one suite for all of them.
package authtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
)

// Counting is an implementation of auth.Slots.
type Counting struct {
	// Open returns the Slots of nodes that count together and have taken nothing. With
	// one node, what several promise each other is not tested.
	Open func(t *testing.T) []auth.Slots
	// Fake says that time may be fake: what takes some runs in a bubble of testing/synctest.
	Fake bool
}

// silence is after how long a silent node counts as dead, and a little more.
const silence = 3*auth.BeatEvery + auth.BeatEvery/2

// Slots tests that c is what auth.Slots promises.
func Slots(t *testing.T, c Counting) {
	for name, test := range map[string]func(*counted){
		"Credential": testCredential,
		"Client":     testClient,
		"Release":    testRelease,
		"Instead":    testInstead,
		"Race":       testRace,
		"Cancelled":  testCancelled,
	} {
		t.Run(name, func(t *testing.T) { test(c.open(t)) })
	}
	t.Run("Random", c.testRandom)
	for name, test := range map[string]func(*counted){"Beats": testBeats, "Silence": testSilence} {
		t.Run(name, func(t *testing.T) {
			if !c.Fake {
				test(c.open(t))
				return
			}
			synctest.Test(t, func(t *testing.T) { test(c.open(t)) })
		})
	}
}

// counted are the nodes of one test.
type counted struct {
	*testing.T
	nodes []auth.Slots
}

func (c Counting) open(t *testing.T) *counted { return &counted{t, c.Open(t)} }

// node returns the n-th node, round and round.
func (c *counted) node(n int) auth.Slots { return c.nodes[n%len(c.nodes)] }

// seat is one of at most three of its credential and five of its client.
func seat(client, credential string) *auth.Seat {
	return &auth.Seat{Client: client, Credential: credential, OfCredential: 3, OfClient: 5}
}

// take takes s on a node and fails unless that is allowed, or refused, as it must be.
func (c *counted) take(node int, s, instead *auth.Seat, allowed bool) *auth.Seat {
	c.Helper()
	err := c.node(node).Take(c.Context(), s, instead)
	if allowed != (err == nil) || err != nil && !errors.Is(err, auth.ErrConnectionLimit) {
		c.Fatalf("node %d takes a seat of %s of %s: %v, allowed: %v", node, s.Credential, s.Client, err, allowed)
	}
	return s
}

// testCredential: a credential has as many as it may, whoever takes them, and no other
// credential has fewer for that.
func testCredential(c *counted) {
	for n := range 3 {
		c.take(n, seat("a", "k"), nil, true)
	}
	for n := range c.nodes {
		c.take(n, seat("a", "k"), nil, false)
	}
	c.take(0, seat("a", "other"), nil, true)
	c.take(1, seat("b", "k2"), nil, true)
	wide := seat("a", "k")
	wide.OfCredential = 4 // a limit belongs to the seat
	c.take(2, wide, nil, true)
}

// testClient: a client has as many as it may, whatever the credentials; who is refused
// for that takes nothing of the credential.
func testClient(c *counted) {
	for n := range 3 {
		c.take(n, seat("a", "k1"), nil, true)
	}
	var second []*auth.Seat
	for n := range 2 {
		second = append(second, c.take(n, seat("a", "k2"), nil, true))
	}
	for n := range 9 {
		c.take(n, seat("a", "k2"), nil, false)
	}
	c.take(1, seat("b", "k3"), nil, true)
	for n, s := range second {
		c.node(n).Release(s)
	}
	for n := range 2 {
		c.take(n, seat("a", "k2"), nil, true)
	}
	c.take(0, seat("a", "k1"), nil, false) // of the credential, which takes nothing of the client
	c.take(0, seat("a", "k2"), nil, false)
}

// testRelease: each release makes room for one, once, and for who is of the same name.
func testRelease(c *counted) {
	var all []*auth.Seat
	for n := range 3 {
		all = append(all, c.take(n, seat("a", "k"), nil, true))
	}
	c.node(0).Release(seat("a", "k")) // never taken
	c.take(0, seat("a", "k"), nil, false)
	c.node(0).Release(all[0])
	c.node(0).Release(all[0])
	c.take(1, seat("a", "k"), nil, true)
	c.take(2, seat("a", "k"), nil, false)
	c.node(1).Release(all[1])
	c.take(1, all[1], nil, true) // the same one again
	c.take(1, seat("a", "k"), nil, false)
}

// testInstead: a seat is let in where only the one whose place it takes is in the way,
// and nowhere else.
func testInstead(c *counted) {
	one := func(credential string) *auth.Seat {
		return &auth.Seat{Client: "a", Credential: credential, OfCredential: 1, OfClient: 2}
	}
	old := c.take(0, one("k"), nil, true)
	again := c.take(0, one("k"), old, true)
	c.take(0, one("k"), old, false)   // there are two
	c.take(0, one("k"), again, false) // of which one makes room
	c.node(0).Release(old)
	c.take(0, one("k"), old, false) // it has made room already
	c.take(1, one("k2"), nil, true)
	c.take(1, one("k3"), nil, false)          // of the client
	next := c.take(0, one("k3"), again, true) // as in the place of another credential
	c.node(0).Release(again)
	c.take(1, one("k"), nil, false)
	c.node(0).Release(next)
	c.take(1, one("k"), nil, true)

	foreign := c.take(0, &auth.Seat{Client: "b", Credential: "x", OfCredential: 1, OfClient: 1}, nil, true)
	c.take(0, one("k4"), foreign, false) // it makes no room here
}

// testRace: all at once, exactly as many get in as may.
func testRace(c *counted) {
	for round := range 20 {
		var in, out atomic.Int64
		var taken sync.Map
		gate := make(chan struct{})
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() {
				<-gate
				s := &auth.Seat{Client: "a", Credential: fmt.Sprint("k", n%2), OfCredential: 10, OfClient: 15}
				switch err := c.node(n/2).Take(c.Context(), s, nil); {
				case err == nil:
					in.Add(1)
					taken.Store(s, n/2)
				case errors.Is(err, auth.ErrConnectionLimit):
					out.Add(1)
				default:
					c.Error(err)
				}
			})
		}
		close(gate)
		all.Wait()
		if in.Load() != 15 || out.Load() != 85 {
			c.Fatalf("round %d: %d of 100 got in, %d were refused; want exactly 15", round, in.Load(), out.Load())
		}
		taken.Range(func(s, n any) bool {
			all.Go(func() { c.node(n.(int)).Release(s.(*auth.Seat)) })
			all.Go(func() { c.node(n.(int)).Release(s.(*auth.Seat)) })
			return true
		})
		all.Wait()
	}
}

// testCancelled: who is gone before a seat was taken has none.
func testCancelled(c *counted) {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	for n := range 9 {
		if s := seat("a", "k"); c.node(n).Take(ctx, s, nil) == nil {
			c.node(n).Release(s)
		}
	}
	for n := range 3 {
		c.take(n, seat("a", "k"), nil, true)
	}
	c.take(0, seat("a", "k"), nil, false)
}

// none is no node.
const none = -1

// beat lets all nodes but one beat for as long as d.
func (c *counted) beat(d time.Duration, silent int) {
	c.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(auth.BeatEvery) {
		for n, node := range c.nodes {
			if n == silent {
				continue
			}
			if err := node.Beat(c.Context()); err != nil {
				c.Fatalf("node %d: %v", n, err)
			}
		}
	}
}

// testBeats: what nodes have taken stays theirs as long as they beat.
func testBeats(c *counted) {
	var all []*auth.Seat
	for n := range 3 {
		all = append(all, c.take(n, seat("a", "k"), nil, true))
	}
	c.beat(2*silence, none)
	for n := range c.nodes {
		c.take(n, seat("a", "k"), nil, false)
	}
	c.node(0).Release(all[0])
	c.take(1, seat("a", "k"), nil, true)
	c.take(2, seat("a", "k"), nil, false)
}

// testSilence: what a dead node had is free. If it lives on after all, what it still
// has counts again.
func testSilence(c *counted) {
	if len(c.nodes) < 2 {
		return // nobody is left to whom it would be free
	}
	c.beat(auth.BeatEvery, none)
	var had []*auth.Seat
	for range 3 {
		had = append(had, c.take(0, seat("a", "k"), nil, true))
	}
	c.beat(silence, 0)
	var later []*auth.Seat
	for range 2 {
		later = append(later, c.take(1, seat("a", "k"), nil, true))
	}
	c.node(0).Release(had[0]) // counted no more
	last := c.take(1, seat("a", "k"), nil, true)
	c.take(1, seat("a", "k"), nil, false)

	c.beat(auth.BeatEvery, none) // five are open now
	for _, s := range append(later, last)[:2] {
		c.take(1, seat("a", "k"), nil, false)
		c.node(1).Release(s)
	}
	c.take(0, seat("a", "k"), nil, false)
	c.node(0).Release(had[1])
	c.take(1, seat("a", "k"), nil, true)
	c.take(0, seat("a", "k"), nil, false)
	c.take(1, seat("b", "k2"), nil, true)
}

// testRandom runs random histories against a plain count.
func (c Counting) testRandom(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		nodes := c.Open(t)
		type held struct {
			*auth.Seat
			node int
		}
		var taken, released []held
		count := func(of func(*auth.Seat) string, name string) (n int) {
			for _, h := range taken {
				if of(h.Seat) == name {
					n++
				}
			}
			return n
		}
		isTaken := func(s *auth.Seat) bool {
			return slices.ContainsFunc(taken, func(h held) bool { return h.Seat == s })
		}
		credential := func(s *auth.Seat) string { return s.Credential }
		client := func(s *auth.Seat) string { return s.Client }
		take := func(r *rapid.T, node int, instead *auth.Seat) {
			owner := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "client")
			s := seat(owner, owner+rapid.SampledFrom([]string{"1", "2", "3"}).Draw(r, "credential"))
			ofCredential, ofClient := count(credential, s.Credential), count(client, s.Client)
			if isTaken(instead) && instead.Client == s.Client {
				ofClient--
				if instead.Credential == s.Credential {
					ofCredential--
				}
			}
			err := nodes[node].Take(t.Context(), s, instead)
			if want := ofCredential < s.OfCredential && ofClient < s.OfClient; want != (err == nil) || err != nil && !errors.Is(err, auth.ErrConnectionLimit) {
				r.Fatalf("%v, with %d of the credential and %d of the client", err, ofCredential, ofClient)
			}
			if err == nil {
				taken = append(taken, held{s, node})
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"take": func(r *rapid.T) { take(r, rapid.IntRange(0, len(nodes)-1).Draw(r, "node"), nil) },
			"take instead": func(r *rapid.T) {
				if all := slices.Concat(taken, released); len(all) > 0 {
					old := rapid.SampledFrom(all).Draw(r, "old")
					take(r, old.node, old.Seat)
				}
			},
			"release": func(r *rapid.T) {
				if len(taken) > 0 {
					i := rapid.IntRange(0, len(taken)-1).Draw(r, "i")
					nodes[taken[i].node].Release(taken[i].Seat)
					released = append(released, taken[i])
					taken = append(taken[:i], taken[i+1:]...)
				}
			},
			"release again": func(r *rapid.T) {
				if len(released) > 0 {
					h := rapid.SampledFrom(released).Draw(r, "seat")
					nodes[h.node].Release(h.Seat)
				}
			},
		})
	})
}
