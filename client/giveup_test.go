package client_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/client"
)

// nobody is a network on which no server is.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody there")
}

// GiveUp means the same everywhere: zero is what the field's comment says, and
// Forever, as all that is negative, never ends by itself.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	call := func(ctx context.Context, c *client.Client, _ time.Duration) error {
		_, err := c.Get(ctx, "x")
		return err
	}
	watch := func(ctx context.Context, c *client.Client, giveUp time.Duration) (last error) {
		for _, err := range c.Watch(ctx, "x", client.WatchOptions{GiveUp: giveUp}) {
			last = err
		}
		return last
	}
	work := func(ctx context.Context, c *client.Client, giveUp time.Duration) error {
		none := func(context.Context, *client.Attempt) (any, error) { return nil, nil }
		return client.Worker{Client: c, Queues: []string{"q"}, Handle: none, GiveUp: giveUp}.Run(ctx)
	}
	for name, tc := range map[string]struct {
		try      func(context.Context, *client.Client, time.Duration) error
		fallback time.Duration
	}{
		"a call":   {call, time.Minute},
		"a watch":  {watch, client.Forever},
		"a worker": {work, client.Forever},
	} {
		for giveUp, want := range map[time.Duration]time.Duration{
			0: tc.fallback, 10 * time.Second: 10 * time.Second, client.Forever: client.Forever, -time.Hour: client.Forever,
		} {
			t.Run(name+" "+giveUp.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), day)
					defer cancel()
					o := client.Options{HTTPClient: &http.Client{Transport: nobody{}}, GiveUp: giveUp}
					c, err := client.New(o)
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					err = tc.try(ctx, c, giveUp)
					took := time.Since(began)
					if want == client.Forever {
						if isLost(err) || took != day {
							t.Errorf("it ended after %s: %v", took, err)
						}
					} else if !isLost(err) || took < want || took > want+time.Second {
						t.Errorf("it ended after %s, want %s: %v", took, want, err)
					}
				})
			})
		}
	}
}
