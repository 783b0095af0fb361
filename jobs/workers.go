package jobs

import (
	"cmp"
	"container/list"
	"maps"
	"slices"
	"sync"
	"time"
)

// MaxWorkerName bounds the name of a worker.
const MaxWorkerName = MaxSealedName

// ValidWorker reports whether a worker may have a name: [A-Za-z0-9._-]{1,64}.
func ValidWorker(name string) bool { return ValidSealedName(name) }

// Bounds of what is remembered of workers. Names are theirs to choose, so each pair of a
// worker and a queue takes some 300 bytes of our memory.
const (
	workerMemory  = 15 * time.Minute // a worker that has claimed nothing for so long is forgotten
	sightsOfOne   = 5000             // pairs of one client; beyond them its oldest are forgotten
	sightsOfAll   = 50_000           // of all clients; beyond them the client that has most loses some
	sightsMakeWay = 500              // how many it loses
)

// sighting is a worker of a client that has claimed from a queue.
type sighting struct {
	worker, queue string // worker is empty if it gave no name
	last          time.Time
}

// pair is what a sighting is of.
type pair struct{ worker, queue string }

// workers remembers who has claimed lately, in memory alone. The zero value is ready.
type workers struct {
	mu      sync.Mutex               // guards what is below
	clients map[string]*clientSights // by name; none is empty
	n       int                      // sightings of all
}

// clientSights are those of one client, *sighting each, the newest first.
type clientSights struct {
	order list.List
	at    map[pair]*list.Element
}

// saw notes that a worker of a client claims from queues.
func (w *workers) saw(client, worker string, queues []string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clients == nil {
		w.clients = make(map[string]*clientSights)
	}
	c := w.clients[client]
	if c == nil {
		c = &clientSights{at: make(map[pair]*list.Element)}
		w.clients[client] = c
	}
	for _, queue := range queues {
		if e := c.at[pair{worker, queue}]; e != nil {
			e.Value.(*sighting).last = now
			c.order.MoveToFront(e)
			continue
		}
		c.at[pair{worker, queue}] = c.order.PushFront(&sighting{worker, queue, now})
		if w.n++; c.order.Len() > sightsOfOne {
			w.forget(c)
		}
	}
	if w.n > sightsOfAll {
		most := slices.MaxFunc(slices.Collect(maps.Values(w.clients)), func(x, y *clientSights) int {
			return cmp.Compare(x.order.Len(), y.order.Len())
		})
		for range min(sightsMakeWay, most.order.Len()-1) {
			w.forget(most)
		}
	}
}

// forget drops a client's oldest sighting.
func (w *workers) forget(c *clientSights) {
	old := c.order.Remove(c.order.Back()).(*sighting)
	delete(c.at, pair{old.worker, old.queue})
	w.n--
}

// of returns what was seen of a client's workers lately, by worker, then queue.
func (w *workers) of(client string, now time.Time) []sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.clients[client]
	if c == nil {
		return nil
	}
	for e := c.order.Back(); e != nil && now.Sub(e.Value.(*sighting).last) >= workerMemory; e = c.order.Back() {
		w.forget(c)
	}
	if c.order.Len() == 0 {
		delete(w.clients, client)
	}
	var all []sighting
	for e := c.order.Front(); e != nil; e = e.Next() {
		all = append(all, *e.Value.(*sighting))
	}
	slices.SortFunc(all, func(x, y sighting) int {
		return cmp.Or(cmp.Compare(x.worker, y.worker), cmp.Compare(x.queue, y.queue))
	})
	return all
}
