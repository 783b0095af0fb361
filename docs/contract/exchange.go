package contract

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// look is one look at what went over a connection.
type look struct {
	w *Watch
	d *documents
}

// exchange is a request and its answer. Of a connection that was cut they may lack their
// ends.
type exchange struct {
	request   *http.Request
	path      string // as the server's routes have it
	body      []byte
	bodyWhole bool
	answer    *http.Response
	text      []byte // of the answer's body
	textWhole bool
}

// connection checks what a client sent and got. What is no HTTP was meant as none: no more
// is looked at then.
func (l *look) connection(sent, got []byte) {
	requests, answers := bufio.NewReader(bytes.NewReader(sent)), bufio.NewReader(bytes.NewReader(got))
	for {
		var x exchange
		var err error
		if x.request, err = http.ReadRequest(requests); err != nil {
			return
		}
		x.path = strings.TrimPrefix(x.request.URL.Path, l.w.base)
		if x.answer, err = nextAnswer(answers, x.request); err != nil { //nolint:bodyclose // it stands in memory
			return
		}
		if x.answer.StatusCode == http.StatusSwitchingProtocols {
			l.exchange(&x)
			l.socket(x.path, requests, answers)
			return
		}
		x.body, x.bodyWhole = all(x.request.Body)
		x.text, x.textWhole = all(x.answer.Body)
		if x.answer.Header.Get("Content-Encoding") == "gzip" && x.textWhole {
			x.text, x.textWhole = unpacked(x.text)
		}
		l.exchange(&x)
	}
}

func all(r io.Reader) (text []byte, whole bool) {
	text, err := io.ReadAll(r)
	return text, err == nil
}

func unpacked(text []byte) ([]byte, bool) {
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, false
	}
	return all(r)
}

// nextAnswer passes over what only invites a body.
func nextAnswer(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	for {
		answer, err := http.ReadResponse(r, req)
		if err != nil || answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, err
		}
	}
}

// described reports whether a path belongs to the interface. Others are those of pages.
func described(path string) bool {
	switch path {
	case "/socket.io/", "/livez", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json":
		return true
	}
	return strings.HasPrefix(path, "/v1/")
}

func (l *look) exchange(x *exchange) {
	if !described(x.path) || x.request.Method == http.MethodOptions {
		return
	}
	op := l.operation(x)
	status := x.answer.StatusCode
	if op == nil {
		if status < 400 {
			l.faulty(x, "", "there is no such operation")
		} else if isJSON(x.answer.Header) && x.textWhole && x.request.Method != http.MethodHead {
			l.faulty(x, "the answer", l.d.judge("openapi.json#/components/schemas/Problem", x.text))
		}
		return
	}
	if status < 400 { // a request that is refused may be anything
		op.request(x)
	}
	op.response(x)
}

// faulty reports what is wrong with a part of an exchange; an empty reason is none.
func (l *look) faulty(x *exchange, part, reason string) {
	if reason != "" {
		l.w.faulty("%s %s, answered %d: %s %s", x.request.Method, x.request.URL.RequestURI(), x.answer.StatusCode, part, reason)
	}
}

// operation is what the OpenAPI document says of a request.
type operation struct {
	*look
	*routers.Route
	path   map[string]string // parameters
	item   string            // pointer to the path
	method string            // pointer to the operation
}

func (l *look) operation(x *exchange) *operation {
	method := x.request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route, params, err := l.d.router.FindRoute(&http.Request{Method: method, URL: &url.URL{Path: x.path}})
	if err != nil {
		return nil
	}
	item := "openapi.json#/paths" + pointer(route.Path)
	return &operation{look: l, Route: route, path: params, item: item, method: item + pointer(strings.ToLower(method))}
}

// at is where the thing is that stands at a place or that is referred to there.
func at(place, ref string) string {
	if ref != "" {
		return "openapi.json" + ref
	}
	return place
}

func (o *operation) request(x *exchange) {
	o.parameters(x, o.PathItem.Parameters, o.item)
	o.parameters(x, o.Operation.Parameters, o.method)
	body := o.Operation.RequestBody
	switch {
	case !x.bodyWhole:
	case len(x.body) == 0:
		if body != nil && body.Value.Required {
			o.faulty(x, "the request", "has no body")
		}
	case body == nil:
		o.faulty(x, "the request", "has a body, and should have none")
	default:
		place, kind := content(o.method+"/requestBody/content", body.Value.Content, x.request.Header)
		switch kind {
		case "":
			o.faulty(x, "the request", "has the type "+x.request.Header.Get("Content-Type"))
		case "application/json":
			o.faulty(x, "the request's body", o.d.judge(place+"/schema", x.body))
		case "application/x-ndjson":
			for line := range bytes.Lines(x.body) {
				if line = bytes.TrimSpace(line); len(line) > 0 {
					o.faulty(x, "a line of the request", o.d.judge("openapi.json#/components/schemas/Submit", line))
				}
			}
		}
	}
}

func (o *operation) parameters(x *exchange, list openapi3.Parameters, place string) {
	query := x.request.URL.Query()
	for i, ref := range list {
		p := ref.Value
		text, there := o.path[p.Name], p.In == "path"
		switch p.In {
		case "query":
			text = query.Get(p.Name)
			there = text != "" // an empty one is absent
		case "header":
			text = strings.Join(x.request.Header.Values(p.Name), ", ")
			there = text != ""
		}
		if !there {
			if p.Required {
				o.faulty(x, p.In+" "+p.Name, "is missing")
			}
			continue
		}
		o.faulty(x, p.In+" "+p.Name, o.d.judgeText(at(place+"/parameters"+pointer(itoa(i)), ref.Ref)+"/schema", p.Schema, text))
	}
}

func (o *operation) response(x *exchange) {
	code := itoa(x.answer.StatusCode)
	ref := o.Operation.Responses.Value(code)
	if ref == nil {
		code, ref = "default", o.Operation.Responses.Default()
	}
	if ref == nil || code == "default" && x.answer.StatusCode < 400 {
		o.faulty(x, "the status", "is not described")
		return
	}
	place := at(o.method+"/responses"+pointer(code), ref.Ref)
	for name, header := range ref.Value.Headers {
		values := x.answer.Header.Values(name)
		switch {
		case len(values) > 0:
			o.faulty(x, "header "+name, o.d.judgeText(at(place+"/headers"+pointer(name), header.Ref)+"/schema", header.Value.Schema, strings.Join(values, ", ")))
		case header.Value.Required:
			o.faulty(x, "header "+name, "is missing")
		}
	}
	o.answer(x, place+"/content", ref.Value.Content)
}

// answer checks the body of an answer.
func (o *operation) answer(x *exchange, place string, described openapi3.Content) {
	if x.request.Method == http.MethodHead || len(x.text) == 0 {
		return
	}
	place, kind := content(place, described, x.answer.Header)
	switch kind {
	case "":
		o.faulty(x, "the answer", "has the type "+x.answer.Header.Get("Content-Type"))
	case "application/json", "application/problem+json":
		if x.textWhole {
			o.faulty(x, "the answer", o.d.judgeAnswer(place+"/schema", x.text))
		}
	case "text/event-stream":
		o.eventStream(channels[o.Path][0], x.text)
	case "application/x-ndjson":
		o.lines(channels[o.Path][1], x.text)
	case "text/plain":
		if o.Path == "/socket.io/" && x.textWhole {
			o.packets(x.text)
		}
	}
}

// channels are those of a path's streams: Server-Sent Events and NDJSON.
var channels = map[string][2]string{
	"/v1/jobs":             {"jobEventStream", "jobLines"},
	"/v1/jobs/{id}/events": {"jobEventStream", "jobLines"},
	"/v1/events":           {"eventStream", "lines"},
	"/v1/stats":            {"statsStream", "statsLines"},
}

func isJSON(h http.Header) bool { return strings.HasSuffix(mediaType(h), "json") }

func mediaType(h http.Header) string {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// content returns where the description of a body's type is, and the type as it stands there;
// empty: it is not described.
func content(place string, described openapi3.Content, h http.Header) (at, kind string) {
	media := mediaType(h)
	for _, kind := range []string{media, "*/*"} {
		if _, ok := described[kind]; ok {
			return place + pointer(kind), kind
		}
	}
	return "", ""
}
