package main

import (
	"context"
	"fmt"
)

// deliveryRate is what all subscribers together get in a second, however many they
// are: with a fixed rate of events few would load nothing, or many more than
// the machine can do.
const deliveryRate = 30_000

// runSubscribers measures one room with ever more readers, at one rate of deliveries.
func runSubscribers(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "subscribers", Title: fmt.Sprintf("one room, %d deliveries a second in all", deliveryRate)}
	for _, t := range set.targets {
		for _, n := range set.subscribers {
			few := *set
			few.readers = n
			set.say("%s, %d", t.name, n)
			r, err := withSite(ctx, &few, t, 1, func(s *site) (row, error) {
				return fanoutCase(ctx, s, t, &few, paced(max(deliveryRate/n, 1)))
			})
			if err != nil {
				return out, fmt.Errorf("%d subscribers: %w", n, err)
			}
			r.Case, r.Target, r.Series, r.X = fmt.Sprintf("%s, %d subscribers", t.name, n), t.name, t.name, float64(n)
			out.Rows = append(out.Rows, r)
		}
	}
	return out, nil
}
