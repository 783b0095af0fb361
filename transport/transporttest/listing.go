package transporttest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/jobcast/jobcast/auth"
)

// listing: an administrator sees the connections of the own client, and ends them.
func listing() []scenario {
	return []scenario{
		{name: "connections are listed and ended", run: listed},
		{name: "a connection's rooms", on: rooms, run: listedRooms},
		{name: "a connection that lags", on: lags, run: listedLag},
	}
}

// lags: a reader that takes nothing holds its connection in the middle of events.
func lags(tr Transport) bool { return tr.Stream && !tr.Requests }

// listedConnection is what the API says of one.
type listedConnection struct {
	ID, Transport, Client string
	Key                   struct{ ID, Name string }
	Rooms                 struct {
		Count int
		Names []string
	}
	Position  string
	Lag       uint64
	Conflated bool
	Since     string
	Address   string
	UserAgent string
}

// admin asks for something as a holder of secret, and returns the status.
func (s *stage) admin(secret, method, path string) (status int, body []byte) {
	s.Helper()
	c := Caller{Dial: s.Dial, Secret: secret}
	hc := c.Client()
	defer hc.CloseIdleConnections()
	req, err := c.Request(s.ctx, method, path, nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := hc.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(resp.Body); err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, body
}

// connections are those that the holder of secret sees.
func (s *stage) connections(secret string) []listedConnection {
	s.Helper()
	status, body := s.admin(secret, http.MethodGet, "/v1/connections")
	var page struct {
		Connections []listedConnection
		Next        *string
	}
	if err := json.Unmarshal(body, &page); err != nil || status != http.StatusOK || page.Next != nil {
		s.Fatalf("connections: %d %s", status, body)
	}
	return page.Connections
}

// listed: who may see a connection, what is said of it, and how it ends.
func listed(s *stage) {
	_, admin := s.Key("acme", auth.KeyOptions{}, auth.Admin)
	_, foreign := s.Key("globex", auth.KeyOptions{}, auth.Admin)
	w := s.log.Begin(s)
	for _, job := range []string{"", w.Job} {
		r, first := s.waiting(s.caller(), s.key, Opening{Job: job, From: "now"})
		room := "client:acme"
		if job != "" {
			room = "job:" + job
		}
		var one listedConnection
		s.settle(endTime, "the connection is in its room", func() bool {
			all := s.connections(admin)
			if len(all) != 1 {
				s.Fatalf("%+v", all)
			}
			one = all[0]
			return one.Rooms.Count == 1 && slices.Equal(one.Rooms.Names, []string{room}) && one.Position == s.log.Head()
		})
		if one.ID == "" || one.Client != "acme" || one.Key.ID != s.key || one.Key.Name != "test" || one.Lag != 0 || one.Conflated ||
			!strings.HasPrefix(s.tr.Name, one.Transport) || one.Since == "" || s.fake != (one.Address == "") {
			s.Errorf("listed as %+v", one)
		}
		s.unseen(one.ID, foreign)
		if status, body := s.admin(admin, http.MethodDelete, "/v1/connections/"+one.ID); status != http.StatusNoContent {
			s.Fatalf("it is not ended: %d %s", status, body)
		}
		s.sentAway(&resumedReader{Reader: r, first: first})
		s.settle(endTime, "it is listed no more", func() bool { return len(s.connections(admin)) == 0 })
		if status, body := s.admin(admin, http.MethodDelete, "/v1/connections/"+one.ID); status != http.StatusNotFound {
			s.Errorf("ended again: %d %s", status, body)
		}
	}
	r, first := s.waiting(s.caller(), s.key, Opening{Job: w.Job, From: "now", Conflate: s.tr.Conflates})
	if all := s.connections(admin); len(all) != 1 || all[0].Conflated != s.tr.Conflates {
		s.Errorf("%+v, want one that asks for less", all)
	}
	r.Close()
	<-first
	s.settle(s.left(), "one that has left is listed no more", func() bool { return len(s.connections(admin)) == 0 })
}

// unseen: knowing the id of another client's connection is of no use, nor is the own key
// without the scope.
func (s *stage) unseen(id, foreign string) {
	s.Helper()
	if all := s.connections(foreign); len(all) != 0 {
		s.Errorf("another client sees %+v", all)
	}
	if status, body := s.admin(foreign, http.MethodDelete, "/v1/connections/"+id); status != http.StatusNotFound {
		s.Errorf("another client ends it: %d %s", status, body)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		path := "/v1/connections"
		if method == http.MethodDelete {
			path += "/" + id
		}
		if status, body := s.admin(s.secret, method, path); status != http.StatusForbidden {
			s.Errorf("%s without the scope: %d %s", method, status, body)
		}
	}
	if n := s.Live(s.key); n != 1 {
		s.Errorf("%d connections are left", n)
	}
}

// sentAway checks that a reader is told that its connection was ended, and it ends.
func (s *stage) sentAway(r Reader) {
	s.Helper()
	problem, _ := s.until(r, "problem")
	if p := s.problem(problem.Data); p.Status != http.StatusForbidden || p.Code != "forbidden" {
		s.Errorf("the last word is %s", problem.Data)
	}
	it, err := r.Next()
	if answered := s.tr.Accept == mediaJSON; err == nil || !answered && !errors.Is(err, io.EOF) {
		s.Errorf("after the last word: %+v, %v", it, err)
	}
}

// listedRooms: all rooms are counted, and the first few are named.
func listedRooms(s *stage) {
	_, admin := s.Key("acme", auth.KeyOptions{}, auth.Admin)
	c := s.connect()
	if all := s.connections(admin); len(all) != 1 || all[0].Rooms.Count != 0 || all[0].Rooms.Names == nil || all[0].Position != "" {
		s.Fatalf("without a room: %+v", all)
	}
	for n := 1; n <= 7; n++ {
		w := s.log.Begin(s)
		s.tell(c, "subscribe", map[string]any{"jobId": w.Job})
		s.until(c, "live")
		got := s.connections(admin)[0].Rooms
		if got.Count != n || len(got.Names) != min(n, 5) || n <= 5 && got.Names[n-1] != "job:"+w.Job {
			s.Errorf("with %d rooms: %+v", n, got)
		}
	}
}

// listedLag: a reader that takes nothing falls behind, and ends all the same.
func listedLag(s *stage) {
	_, admin := s.Key("acme", auth.KeyOptions{}, auth.Admin)
	w := s.log.Begin(s)
	if err := s.tr.Stall(s.ctx, s.caller(), Opening{Job: w.Job, Cursor: s.log.Head()}); err != nil {
		s.Fatal(err)
	}
	s.settle(stallTime, "the reader is in its room", func() bool {
		all := s.connections(admin)
		return len(all) == 1 && all[0].Rooms.Count == 1
	})
	for sent := 0; ; sent += 20 {
		w.EmitLarge(s, 20, 8<<10)
		if lag := s.connections(admin)[0].Lag; lag > uint64(sent+20) {
			s.Fatalf("it lags %d of %d events", lag, sent+20)
		} else if lag > 20 {
			return
		}
		if sent > 2000 {
			s.Fatal("it does not lag")
		}
	}
}
