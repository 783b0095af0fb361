package socketio_test

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
)

// Options.Main: everybody may be in the main namespace, and nothing comes of it.
func TestMainNamespace(t *testing.T) {
	main := options{Main: true, Options: engineio.Options{PingInterval: time.Hour}}
	t.Run("says nothing", func(t *testing.T) {
		inBubble(t, main, func(t *testing.T, r *rig) {
			c := r.connection()
			if first, second := c.joins(""), c.joins("/custom,"); first == second {
				t.Error("one id for two sockets")
			}
			for range 80 { // together more than may be owed
				c.Send(`42["say",1]`, `427["ask"]`, `431[]`, `451-["say",{"_placeholder":true,"num":0}]`)
				c.SendBinary([]byte("abc"))
			}
			c.talks("/custom,")
			c.Send("41")
			c.Send(`40{"token":"ignored"}`)
			c.joined("")
			c.talks("/custom,")
			if len(r.peers) != 1 {
				t.Errorf("%d peers", len(r.peers))
			}
		})
	})
	for name, packets := range map[string][]string{
		"twice":          {"40", "40"},
		"before joining": {`42["say"]`},
		"after leaving":  {"40", "41", `42["say"]`},
		"bad JSON":       {"40", `42["say"`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, main, func(t *testing.T, r *rig) {
				c := r.connection()
				c.Send(packets...)
				for op := byte(0); op != 8; {
					var err error
					if op, _, err = c.Next(); err != nil {
						t.Fatalf("no close frame: %v", err)
					}
				}
			})
		})
	}
	for name, tc := range map[string]struct {
		packets func(c *client)
		after   time.Duration
	}{
		"the time goes on":     {func(c *client) { time.Sleep(20 * time.Second); c.joins("") }, 45 * time.Second},
		"and begins once more": {func(c *client) { c.joins(""); c.joins("/custom,"); c.Send("41/custom,") }, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, main, func(t *testing.T, r *rig) {
				begun := time.Now()
				c := r.connection()
				tc.packets(c)
				c.Ended()
				if d := time.Since(begun).Truncate(10 * time.Millisecond); d != tc.after {
					t.Errorf("closed after %v, want %v", d, tc.after)
				}
			})
		})
	}
}

// Whoever is in the main namespace may be a stranger, so nothing is kept of what it sends.
func TestMainNamespaceHoldsNothing(t *testing.T) {
	inBubble(t, options{Main: true, Options: engineio.Options{PingInterval: time.Hour}}, func(t *testing.T, r *rig) {
		heap := func() uint64 {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		const peers, large = 20, 100_000
		var all []*client
		for range peers {
			all = append(all, r.connection())
			all[len(all)-1].joins("")
		}
		before := heap()
		for _, c := range all {
			c.Send(`4510-["x",{"_placeholder":true,"num":0},"` + strings.Repeat("x", large) + `"]`)
			for range 9 { // of ten
				c.SendBinary(make([]byte, large))
			}
		}
		if grown := int64(heap() - before); grown > peers*large*10/4 {
			t.Errorf("%d bytes are kept", grown)
		}
		for _, c := range all {
			c.SendBinary(nil)
			c.joins("/custom,")
			c.talks("/custom,")
		}
	})
}
