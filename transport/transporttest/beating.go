package transporttest

import "time"

// beating: signs of life.
func beating() []scenario {
	return []scenario{
		{name: "heartbeat", mode: fakeOnly, on: responses, run: heartbeat},
	}
}

func heartbeat(s *stage) {
	w := s.log.Submit(s)
	for _, o := range []Opening{{}, {PingEvents: true}, {Job: w.Job}} {
		r := s.open(o)
		s.until(r, "live")
		last := time.Now()
		for range 20 {
			it, err := r.Next()
			if err != nil {
				s.Fatal(err)
			}
			want := Heartbeat
			if o.PingEvents || s.tr.Accept != mediaSSE {
				want = "ping"
				if _, err := time.Parse("2006-01-02T15:04:05.000Z", field[string](s, it.Data, "timestamp")); err != nil {
					s.Error(err)
				}
			}
			if it.Name != want {
				s.Errorf("got %+v, want %s", it, want)
			}
			if gap := time.Since(last); gap > s.tr.Silence {
				s.Errorf("%v of silence", gap)
			} else if gap < s.tr.Silence/2 {
				s.Errorf("a sign of life after only %v", gap)
			}
			last = time.Now()
		}
		r.Close()
	}
}
