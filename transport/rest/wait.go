package rest

import (
	"context"
	"time"

	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
)

// waitEnd returns when the job has its terminal event, when limit is over or when ctx
// ends; all three give nil.
func (s *server) waitEnd(ctx context.Context, client, job string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wake, woken := transport.Waker()
	sub := s.Hub.Subscribe(client, wake)
	defer sub.Close()
	if _, err := sub.Join(ctx, job, hub.Start{From: hub.FromNow}); err != nil {
		return err
	}
	for {
		items, more := sub.Next(nil, 64, 64<<10)
		for _, it := range items {
			if m := it.Mark; m != nil && (m.Kind == hub.End || m.Kind == hub.Gone || m.Kind == hub.Fault) {
				return nil
			}
		}
		if more {
			continue
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return nil
		}
	}
}
