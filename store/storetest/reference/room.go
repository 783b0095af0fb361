package reference

import (
	"context"
	"maps"

	"github.com/jobcast/jobcast/jobs"
)

// How room is reckoned: about as a database on a disk takes it.
const (
	blockBytes   = 4096     // what a file takes at least
	rowBytes     = 2048     // of a job or a key beside its texts
	reserveShare = 16       // one in so many bytes of the bound is for what ends jobs
	emptyBytes   = 64 << 10 // of a database without anything in it
)

// onDisk is what a file of so many bytes takes.
func onDisk(bytes int64) int64 { return (bytes + blockBytes - 1) / blockBytes * blockBytes }

// usage is what a client fills.
func (s *Store) usage(client string) (u jobs.Usage) {
	for _, j := range s.tables.jobs {
		if j.ClientID != client {
			continue
		}
		if j.open() {
			u.Jobs++
		}
		for _, a := range j.artifacts {
			u.Artifacts += a.Size
		}
	}
	return u
}

// Usage returns what a client fills.
func (s *Store) Usage(_ context.Context, client string) (jobs.Usage, error) {
	return read(s, func() (jobs.Usage, error) { return s.usage(client), nil })
}

// Filled returns what all clients fill.
func (s *Store) Filled(context.Context) (jobs.Filled, error) {
	return read(s, func() (jobs.Filled, error) {
		f := jobs.Filled{Storage: s.stored()}
		for name := range maps.Keys(s.tables.clients) {
			u := s.usage(name)
			f.Artifacts += u.Artifacts
			f.Most.Jobs, f.Most.Artifacts = max(f.Most.Jobs, u.Jobs), max(f.Most.Artifacts, u.Artifacts)
		}
		return f, nil
	})
}

// stored is how many bytes all that is kept takes.
func (s *Store) stored() int64 {
	n := emptyBytes + rowBytes*int64(len(s.tables.jobs)+len(s.tables.keys))
	for _, j := range s.tables.jobs {
		n += int64(len(j.Payload) + len(j.Actions) + len(j.Metadata) + len(j.Result))
		for _, a := range j.artifacts {
			n += onDisk(a.Size)
		}
	}
	for _, x := range s.tables.sealed {
		n += rowBytes + int64(len(x.Data))
	}
	for _, bytes := range s.tables.garbage {
		n += onDisk(bytes)
	}
	for _, c := range s.tables.clients {
		for _, e := range c.log {
			n += int64(len(e.JSON))
		}
	}
	return n
}

// used is what is stored or held.
func (s *Store) used() int64 {
	n := s.stored()
	for _, h := range s.holds {
		n += onDisk(h.bytes)
	}
	return n
}

// fillable is how much of the bound what adds may fill.
func (s *Store) fillable() int64 { return s.opts.Limits.Storage - s.opts.Limits.Storage/reserveShare }

// room refuses so many further bytes if the storage has no room for them.
func (s *Store) room(bytes int64) error {
	if s.opts.Limits.Storage <= 0 || bytes == 0 {
		return nil
	}
	if used := s.used(); used+bytes > s.fillable() {
		return &jobs.LimitError{What: jobs.LimitStorage, Max: s.fillable(), Used: used, Asked: bytes}
	}
	return nil
}

// spent reports whether the part of the bound that is for ends is taken as well.
func (s *Store) spent() bool {
	return s.opts.Limits.Storage > 0 && s.used() >= s.opts.Limits.Storage
}

// hold is room for an artifact on its way.
type hold struct {
	by     *Store
	client string
	bytes  int64
	beyond int64 // of them, what the client has beyond the artifact that is replaced
}

// HoldArtifact implements jobs.Store.
func (s *Store) HoldArtifact(ctx context.Context, l jobs.Lease, h jobs.Hold) (int64, jobs.Receipt, error) {
	var bytes int64
	r, err := write(ctx, s, func() (jobs.Receipt, error) {
		j, err := s.holding(l)
		if err != nil {
			return jobs.Receipt{}, err
		}
		old, err := j.replaceable(h.Name)
		if err != nil {
			return jobs.Receipt{}, err
		}
		was, again := s.holds[h.ID]
		delete(s.holds, h.ID)
		if bytes, err = s.holdable(j.ClientID, h, old.Size); err != nil {
			if again {
				s.holds[h.ID] = was
			}
			return jobs.Receipt{}, err
		}
		s.holds[h.ID] = hold{by: s, client: j.ClientID, bytes: bytes, beyond: max(0, bytes-old.Size)}
		return jobs.Receipt{Lasts: s.renew(j)}, nil
	})
	return bytes, r, err
}

// holdable returns for how many bytes there is room, up to h.Most.
func (s *Store) holdable(client string, h jobs.Hold, old int64) (int64, error) {
	bytes := h.Most
	if limit := s.opts.Limits.ArtifactsPerClient; limit > 0 {
		bytes = min(bytes, max(h.Least, old+limit-s.artifactsOf(client)))
	}
	if s.opts.Limits.Storage > 0 {
		bytes = min(bytes, max(h.Least, (s.fillable()-s.used()-rowBytes)/blockBytes*blockBytes))
	}
	if err := s.artifactFits(client, bytes, old); err != nil {
		return 0, err
	}
	return bytes, s.room(onDisk(bytes) + rowBytes)
}

// artifactsOf is how many bytes of a client's bound its artifacts and holds take.
func (s *Store) artifactsOf(client string) int64 {
	n := s.usage(client).Artifacts
	for _, h := range s.holds {
		if h.client == client {
			n += h.beyond
		}
	}
	return n
}

// artifactFits refuses an artifact of so many bytes, in place of one of old bytes, if its
// client has no room for it.
func (s *Store) artifactFits(client string, bytes, old int64) error {
	limit, used := s.opts.Limits.ArtifactsPerClient, s.artifactsOf(client)
	if limit <= 0 || bytes-old <= max(0, limit-used) {
		return nil
	}
	return &jobs.LimitError{What: jobs.LimitArtifacts, Max: limit, Used: used, Asked: bytes - old}
}

// DropHold implements jobs.Store.
func (s *Store) DropHold(ctx context.Context, id string) error {
	return s.do(ctx, func() error {
		delete(s.holds, id)
		return nil
	})
}
