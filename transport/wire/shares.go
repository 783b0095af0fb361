package wire

import (
	"container/heap"
	"container/list"
	"sync"
)

// Shares is a limit that many holders share, and none of them can use up for the
// others: when it is reached nothing new is refused, but what is there makes room.
// The holder that has most gives up its oldest; among those that have as much, the
// one whose oldest is older. So a holder that keeps to its share loses nothing to
// one that does not, and as long as there is room for all nobody loses anything.
//
// All methods are safe for concurrent use.
type Shares[K comparable] struct {
	whole int64

	mu        sync.Mutex // guards everything below, and the fields of Share and part
	sum       int64
	made      uint64
	parts     map[K]*part[K]
	most      mostFirst[K]
	displaced int64
}

// part is what one holder has.
type part[K comparable] struct {
	key    K
	sole   bool // not in Shares.parts
	sum    int64
	shares list.List // of *Share, oldest first; never empty while the part is in Shares.most
	at     int       // its place in Shares.most
}

// Share is what was taken of a limit, until it is released or ended.
type Share[K comparable] struct {
	of   *Shares[K]
	part *part[K]
	cost int64
	age  uint64
	end  func()
	at   *list.Element // nil: given back
}

// NewShares returns a limit of whole in all, at least 1.
func NewShares[K comparable](whole int64) *Shares[K] {
	return &Shares[K]{whole: whole, parts: make(map[K]*part[K])}
}

// Take takes cost for a holder. The zero key is of nobody: what is taken for it counts
// as that of a holder that has nothing else. end is called, once, in whatever
// goroutine needs the room, when the share has to go; it must not block, and may be
// called before Take returns.
func (s *Shares[K]) Take(key K, cost int64, end func()) *Share[K] {
	var nobody K
	s.mu.Lock()
	p := s.parts[key]
	if p == nil {
		p = &part[K]{key: key, sole: key == nobody}
		if !p.sole {
			s.parts[key] = p
		}
	}
	s.made++
	sh := &Share[K]{of: s, part: p, cost: cost, age: s.made, end: end}
	sh.at = p.shares.PushBack(sh)
	p.sum += cost
	s.sum += cost
	if p.shares.Len() == 1 {
		heap.Push(&s.most, p)
	} else {
		heap.Fix(&s.most, p.at)
	}
	s.settle()
	return sh
}

// Grow takes more for the same share.
func (sh *Share[K]) Grow(by int64) {
	s := sh.of
	s.mu.Lock()
	if sh.at == nil {
		s.mu.Unlock()
		return
	}
	sh.cost += by
	sh.part.sum += by
	s.sum += by
	heap.Fix(&s.most, sh.part.at)
	s.settle()
}

// settle ends shares until the rest is within the limit. It unlocks mu.
func (s *Shares[K]) settle() {
	var ends []func()
	for s.sum > s.whole && len(s.most) > 0 {
		ends = append(ends, s.displace())
	}
	s.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// displace takes a share away, and returns its end. mu is held, and there is one.
func (s *Shares[K]) displace() func() {
	sh := s.most[0].oldest()
	sh.giveBack()
	s.displaced++
	return sh.end
}

// Displace ends one share, although there may be room, and reports whether there was
// one.
func (s *Shares[K]) Displace() bool {
	s.mu.Lock()
	if len(s.most) == 0 {
		s.mu.Unlock()
		return false
	}
	end := s.displace()
	s.mu.Unlock()
	end()
	return true
}

// Release gives the share back. Further calls do nothing.
func (sh *Share[K]) Release() {
	sh.of.mu.Lock()
	sh.giveBack()
	sh.of.mu.Unlock()
}

// giveBack is Release with mu held.
func (sh *Share[K]) giveBack() {
	if sh.at == nil {
		return
	}
	s, p := sh.of, sh.part
	p.shares.Remove(sh.at)
	sh.at = nil
	p.sum -= sh.cost
	s.sum -= sh.cost
	if p.shares.Len() > 0 {
		heap.Fix(&s.most, p.at)
		return
	}
	heap.Remove(&s.most, p.at)
	if !p.sole {
		delete(s.parts, p.key)
	}
}

// Used returns how much is taken, and how many shares had to go so far.
func (s *Shares[K]) Used() (sum, displaced int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum, s.displaced
}

func (p *part[K]) oldest() *Share[K] { return p.shares.Front().Value.(*Share[K]) }

// mostFirst is a heap (container/heap) of parts by what they have.
type mostFirst[K comparable] []*part[K]

func (h mostFirst[K]) Len() int { return len(h) }

func (h mostFirst[K]) Less(i, j int) bool {
	if h[i].sum != h[j].sum {
		return h[i].sum > h[j].sum
	}
	return h[i].oldest().age < h[j].oldest().age
}

func (h mostFirst[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *mostFirst[K]) Push(p any) {
	p.(*part[K]).at = len(*h)
	*h = append(*h, p.(*part[K]))
}

func (h *mostFirst[K]) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}
