package sqlite

import (
	"context"

	"github.com/jobcast/jobcast/jobs"
)

// reservation is a hold: room for an artifact on its way. It is made at once, not when
// the batch commits: it is no part of the database, and one that is made twice is
// the same.
type reservation struct {
	id     string
	client int64
	bytes  int64 // of the artifact
	beyond int64 // of them, those that count against the client's bound: what it has beyond the artifact it replaces
}

// disk is what it takes of the folder, with the row of the artifact.
func (h reservation) disk() int64 { return onDisk(h.bytes) + rowBytes }

// put sets a hold, in place of an earlier one with its id.
func (st *state) put(h reservation) {
	st.drop(h.id)
	st.holds[h.id] = h
	st.held[h.client] += h.beyond
	st.storage.held += h.disk()
}

// drop ends a hold and reports whether there was one.
func (st *state) drop(id string) (h reservation, ok bool) {
	if h, ok = st.holds[id]; !ok {
		return h, false
	}
	delete(st.holds, id)
	st.storage.held -= h.disk()
	if st.held[h.client] -= h.beyond; st.held[h.client] == 0 {
		delete(st.held, h.client)
	}
	return h, true
}

// holdOutcome is what HoldArtifact gives.
type holdOutcome struct {
	bytes   int64
	receipt jobs.Receipt
}

// HoldArtifact implements jobs.Store.
func (s *Store) HoldArtifact(ctx context.Context, l jobs.Lease, h jobs.Hold) (int64, jobs.Receipt, error) {
	out, err := write(ctx, s, 0, func(b *batch) (holdOutcome, error) {
		r, err := b.holding(l)
		if err != nil {
			return holdOutcome{}, err
		}
		old, err := b.oldArtifact(r, h.Name)
		if err == nil && old.file == "" {
			err = b.countArtifacts(r)
		}
		if err != nil {
			return holdOutcome{}, err
		}
		was, again := b.st.drop(h.ID)
		bytes, err := b.holdable(r.head, h, old.size)
		if err != nil {
			if again {
				b.st.put(was)
			}
			return holdOutcome{}, refuse(err)
		}
		b.st.put(reservation{h.ID, r.head.id, bytes, max(0, bytes-old.size)})
		lasts, err := b.renew(r)
		return holdOutcome{bytes, jobs.Receipt{Lasts: lasts}}, err
	})
	return out.bytes, out.receipt, err
}

// holdable returns for how many bytes there is room, up to h.Most, or refuses
// when that is less than h.Least. old is the size of the artifact to be replaced.
func (b *batch) holdable(head *logHead, h jobs.Hold, old int64) (int64, error) {
	bytes := h.Most
	if room, bounded := b.artifactRoom(head); bounded {
		bytes = min(bytes, max(h.Least, old+room))
	}
	st := &b.st.storage
	if st.limit > 0 {
		room := (st.fillable() - st.used() - b.grown - rowBytes) / blockBytes * blockBytes
		bytes = min(bytes, max(h.Least, room))
	}
	if err := b.artifactFits(head, bytes, old); err != nil {
		return 0, err
	}
	return bytes, st.refusal(b.grown, reservation{bytes: bytes}.disk())
}

// artifactRoom is how many bytes more a client's artifacts may have.
func (b *batch) artifactRoom(head *logHead) (room int64, bounded bool) {
	return max(0, b.limits.ArtifactsPerClient-head.artifacts-b.st.held[head.id]), b.limits.ArtifactsPerClient > 0
}

// artifactFits refuses an artifact of so many bytes, in place of one of old bytes,
// if its client has no room for it.
func (b *batch) artifactFits(head *logHead, bytes, old int64) error {
	room, bounded := b.artifactRoom(head)
	if !bounded || bytes-old <= room {
		return nil
	}
	return &jobs.LimitError{What: jobs.LimitArtifacts, Max: b.limits.ArtifactsPerClient,
		Used: head.artifacts + b.st.held[head.id], Asked: bytes - old}
}

// takeHold ends the hold of an artifact that is there now, and refuses it if it is
// larger than what was held and there is no room.
func (b *batch) takeHold(head *logHead, a jobs.StoredArtifact, old int64) error {
	h, ok := b.st.drop(a.Hold)
	if ok {
		b.spent = append(b.spent, h)
	}
	if err := b.artifactFits(head, a.Size, old); err != nil {
		return refuse(err)
	}
	needs := reservation{bytes: a.Size}.disk()
	if !ok || h.bytes < a.Size {
		if err := b.st.storage.refusal(b.grown, needs); err != nil {
			return refuse(err)
		}
	}
	b.grown += needs
	return nil
}

// restoreHolds gives back the holds that a batch took which was rolled back.
func (b *batch) restoreHolds() {
	for _, h := range b.spent {
		b.st.put(h)
	}
}

// DropHold implements jobs.Store. It goes through the committer because that has the
// holds, and behind the commands that came before it; a database in trouble does not
// keep room from being given back.
func (s *Store) DropHold(ctx context.Context, id string) error {
	if !s.opts.Serving {
		return errNotServing
	}
	_, err := s.committer.ask(ctx, &command{drop: id, run: func(b *batch) error {
		b.st.drop(id)
		return nil
	}})
	return err
}
