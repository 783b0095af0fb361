package wire

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The holder that has most makes room, with its oldest; a lesser one loses nothing.
func TestSharesMakeRoom(t *testing.T) {
	s := NewShares[string](10)
	var gone []int
	take := func(holder string, n int) {
		s.Take(holder, 1, func() { gone = append(gone, n) })
	}
	take("quiet", 100)
	for n := range 12 {
		take("flood", n)
	}
	take("other", 200)
	if want := []int{0, 1, 2, 3}; !slices.Equal(gone, want) {
		t.Errorf("gone: %v, want %v", gone, want)
	}
	if sum, displaced := s.Used(); sum != 10 || displaced != 4 {
		t.Errorf("%d taken, %d displaced", sum, displaced)
	}
}

// Whoever is nobody counts as one of many, and the oldest of those goes first.
func TestSharesOfNobody(t *testing.T) {
	s := NewShares[string](3)
	var gone []int
	for n := range 5 {
		s.Take("", 1, func() { gone = append(gone, n) })
	}
	if want := []int{0, 1}; !slices.Equal(gone, want) {
		t.Errorf("gone: %v, want %v", gone, want)
	}
}

// Against a model that searches: whatever is taken, grows and is given back, the
// limit holds, and it is always the greatest holder's oldest that goes.
func TestSharesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type held struct {
			share  *Share[int]
			holder int
			cost   int64
		}
		const whole = 30
		s := NewShares[int](whole)
		var model []*held // oldest first
		var ended []*held
		sums := func() (all int64, by map[int]int64) {
			by = map[int]int64{}
			for _, h := range model {
				all, by[h.holder] = all+h.cost, by[h.holder]+h.cost
			}
			return all, by
		}
		check := func() {
			var want []*held
			for {
				all, by := sums()
				if all <= whole {
					break
				}
				most := int64(0)
				for _, n := range by {
					most = max(most, n)
				}
				i := slices.IndexFunc(model, func(h *held) bool { return by[h.holder] == most })
				want = append(want, model[i])
				model = slices.Delete(model, i, i+1)
			}
			if !slices.Equal(ended, want) {
				t.Fatalf("ended %v, want %v", ended, want)
			}
			ended = nil
			if all, _ := sums(); all != s.sum || len(s.most) != len(s.parts) {
				t.Fatalf("%d taken, want %d", s.sum, all)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 3).Draw(t, "op"); {
			case op < 2 || len(model) == 0:
				h := &held{holder: rapid.IntRange(1, 4).Draw(t, "holder"), cost: rapid.Int64Range(1, 9).Draw(t, "cost")}
				model = append(model, h)
				h.share = s.Take(h.holder, h.cost, func() { ended = append(ended, h) })
			case op == 2:
				h := model[rapid.IntRange(0, len(model)-1).Draw(t, "which")]
				by := rapid.Int64Range(1, 9).Draw(t, "by")
				h.cost += by
				h.share.Grow(by)
			default:
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				model[i].share.Release()
				model[i].share.Release()
				model = slices.Delete(model, i, i+1)
			}
			check()
		}
	})
}
