package examples_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"sync"
	"testing"
)

// road is a proxy between a worker and the server. It sees the leases, and it
// can break.
type road struct {
	proxy *httputil.ReverseProxy

	mu     sync.Mutex // guards the rest
	lease  string     // the newest that passed
	faults []string   // each as in break; what has happened is taken out
}

// openRoad serves a road at an address of this machine until the test ends.
// A fault is the last part of a path and what befalls the next call to it:
// "claim refused" is answered 503 and not passed on, "complete cut" is passed
// on, but its answer does not come back.
func openRoad(t *testing.T, address, server string, faults ...string) *road {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	silent := log.New(io.Discard, "", 0) // workers that leave are no news
	r := &road{faults: faults, proxy: &httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ErrorLog: silent,
	}}
	transport := &http.Transport{}
	r.proxy.Transport = transport
	s := &http.Server{Handler: r, ErrorLog: silent}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve road: %v", err)
		}
		transport.CloseIdleConnections()
	})
	return r
}

// ServeHTTP implements http.Handler.
func (r *road) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch r.pass(path.Base(req.URL.Path), req.Header.Get("X-Lease-Token")) {
	case "refused":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "cut":
		r.proxy.ServeHTTP(httptest.NewRecorder(), req)
		panic(http.ErrAbortHandler)
	default:
		r.proxy.ServeHTTP(w, req)
	}
}

// pass notes a call and returns what befalls it.
func (r *road) pass(call, lease string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lease != "" {
		r.lease = lease
	}
	for i, fault := range r.faults {
		for _, what := range []string{"refused", "cut"} {
			if fault == call+" "+what {
				r.faults = append(r.faults[:i:i], r.faults[i+1:]...)
				return what
			}
		}
	}
	return ""
}

// state returns the newest lease and the faults that have not happened yet.
func (r *road) state() (lease string, faults []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease, r.faults
}

// freeAddress is one where nobody listens yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
