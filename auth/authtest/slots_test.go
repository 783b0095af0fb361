package authtest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/auth/authtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is what nodes in one process count together.
type cluster struct {
	mu    sync.Mutex // guards the nodes
	nodes []*node
}

// node is one of them; while it is silent the others do not count what it has taken.
type node struct {
	c     *cluster
	taken map[*auth.Seat]bool
	beat  time.Time
}

// open returns three nodes of a new cluster.
func open(*testing.T) (all []auth.Slots) {
	c := &cluster{}
	for range 3 {
		n := &node{c: c, taken: make(map[*auth.Seat]bool), beat: time.Now()}
		c.nodes, all = append(c.nodes, n), append(all, n)
	}
	return all
}

func (n *node) Take(_ context.Context, s, instead *auth.Seat) error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	ofCredential, ofClient := 0, 0
	for _, other := range n.c.nodes {
		if time.Since(other.beat) > 3*auth.BeatEvery {
			continue
		}
		for held := range other.taken {
			if held == instead || held.Client != s.Client {
				continue
			}
			ofClient++
			if held.Credential == s.Credential {
				ofCredential++
			}
		}
	}
	if ofCredential >= s.OfCredential || ofClient >= s.OfClient {
		return fmt.Errorf("%w: %d and %d", auth.ErrConnectionLimit, ofCredential, ofClient)
	}
	n.taken[s] = true
	return nil
}

func (n *node) Release(s *auth.Seat) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	delete(n.taken, s)
}

func (n *node) Beat(context.Context) error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.beat = time.Now()
	return nil
}

// The suite holds for several nodes that count as its words say.
func TestCluster(t *testing.T) { authtest.Slots(t, authtest.Counting{Open: open, Fake: true}) }
