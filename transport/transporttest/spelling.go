package transporttest

import (
	"bufio"
	"io"
	"net/http"
	"strings"
)

// spelling: an id, a path and a header mean the same however they are written.
func spelling() []scenario {
	return []scenario{
		{name: "ids in other spellings", run: otherIDs},
		{name: "paths in other spellings", on: urls, run: otherPaths},
		{name: "one room for all spellings", on: rooms, run: oneRoom},
		{name: "headers in several lines", on: urls, run: severalLines},
		{name: "handshakes in several lines", on: func(tr Transport) bool { return tr.Upgrades || tr.Codes }, run: splitHandshake},
	}
}

// otherIDs: upper case is read, lower case written (RFC 9562 4). What only looks
// like an id is no job's.
func otherIDs(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 3, 2)
	mixed := strings.ToUpper(w.Job[:18]) + w.Job[18:]
	for _, id := range []string{strings.ToUpper(w.Job), mixed} {
		r := s.open(Opening{Job: id})
		if s.tr.Stream {
			sub, _ := s.until(r, "subscribed")
			if room := field[string](s, sub.Data, "room"); room != "job:"+w.Job {
				s.Errorf("%s joins %s", id, room)
			}
		}
		Same(s, s.events(r, len(s.log.Entries(w.Job))), s.log.Entries(w.Job))
		r.Close()
	}
	digits := strings.ReplaceAll(w.Job, "-", "")
	for _, id := range []string{"{" + w.Job + "}", "urn:uuid:" + w.Job, digits, w.Job + "0", w.Job[1:], w.Job + "%20", strings.Replace(w.Job, "-", "%252D", 1)} {
		if r := s.refusal(s.caller(), Opening{Job: id}); r.Status != http.StatusNotFound {
			s.Errorf("%s: %d %s", id, r.Status, r.Body)
		}
	}
}

// otherPaths: what needs no percent-encoding may have one, and it is undone once
// (RFC 3986 6.2.2.2). An encoded slash separates nothing.
func otherPaths(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 2, 1)
	hc := s.caller().Client()
	defer hc.CloseIdleConnections()
	hyphens := strings.ReplaceAll(w.Job, "-", "%2D")
	upper := strings.ToUpper(strings.ReplaceAll(w.Job, "-", "%2d"))
	first := "%3" + w.Job[:1] + w.Job[1:] // a digit: the ids begin with a time
	for path, want := range map[string]int{
		"/v1/jobs/" + hyphens + "/events":                                 http.StatusOK,
		"/v1/jobs/" + upper + "/events":                                   http.StatusOK,
		"/v1/%6Aobs/" + first + "/%65vents":                               http.StatusOK,
		"/v1/jobs/" + w.Job + "%2Fevents":                                 http.StatusNotFound,
		"/v1%2fjobs/" + w.Job + "/events":                                 http.StatusNotFound,
		"/v1/jobs/" + strings.ReplaceAll(hyphens, "%", "%25") + "/events": http.StatusNotFound,
		"/v1/%256Aobs/" + w.Job + "/events":                               http.StatusNotFound,
		"/v1/jobs/" + w.Job + "/%2e%2e/" + w.Job + "/events":              http.StatusNotFound,
	} {
		req, err := s.caller().Request(s.ctx, http.MethodHead, path, nil)
		if err != nil {
			s.Fatal(err)
		}
		req.Header.Set("Accept", s.tr.Accept)
		resp, err := hc.Do(req)
		if err != nil {
			s.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != want {
			s.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// oneRoom: a job's room is one, however it was named when it was joined and left.
func oneRoom(s *stage) {
	w := s.log.Begin(s)
	c := s.connect()
	upper := strings.ToUpper(w.Job)
	s.tell(c, "subscribe", map[string]any{"jobId": upper, "from": "start"})
	_, history := s.until(c, "live")
	Same(s, history, s.log.Entries(w.Job))
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "from": "start"})
	if _, replayed := s.until(c, "subscribed"); len(replayed) > 0 {
		s.Errorf("the other spelling replays %d events", len(replayed))
	}
	w.Emit(s, 2, 1)
	s.events(c, 2)
	s.tell(c, "unsubscribe", map[string]any{"jobId": upper})
	left, _ := s.until(c, "unsubscribed")
	if id := field[string](s, left.Data, "jobId"); id != w.Job {
		s.Errorf("left %s, want %s", id, w.Job)
	}
	w.Emit(s, 1, 1) // nobody hears it
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "from": "now"})
	if _, heard := s.until(c, "live"); len(heard) > 0 {
		s.Errorf("after leaving, %d events came", len(heard))
	}
}

// severalLines: a list may come in several lines (RFC 9110 5.3); of what is no list,
// they have to say the same.
func severalLines(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 4, 2)
	all := s.log.Entries(w.Job)
	r := s.open(Opening{Job: w.Job, Lines: true, Cursor: all[2].ID + "\n" + all[2].ID})
	Same(s, s.events(r, len(all)-3), all[3:])
	two := Opening{Job: w.Job, Lines: true, Cursor: all[2].ID + "\n" + all[3].ID}
	if it, _ := s.until(s.open(two), "reset"); field[string](s, it.Data, "reason") != "invalid" {
		s.Errorf("two cursors: %s", it.Data)
	}
}

// splitHandshake: a handshake's lists may come in several lines as well.
func splitHandshake(s *stage) {
	path := "/v1/ws?apiKey=" + s.secret
	if s.tr.Upgrades {
		path = "/socket.io/?EIO=4&transport=websocket"
	}
	nc, err := s.Dial(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	defer nc.Close()
	_, err = io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: jobcast.test\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n"+
		"Upgrade: h2c\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		s.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		s.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
