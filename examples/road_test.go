package examples_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"sync"
	"syscall"
	"testing"
)

// road is a proxy between a worker and the server. It sees the leases, and it
// can break.
type road struct {
	URL string // where workers find it

	socket    *os.File // bound to the address
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	claims    chan struct{} // pass sends one for a claim, if there is room

	mu     sync.Mutex // guards the rest
	lease  string     // the newest that passed
	faults []string   // each as in break; what has happened is taken out
}

// newRoad returns a road that is still closed: its address is taken, but nobody
// listens there. A fault is the last part of a path and what befalls the next
// call to it: "claim refused" is answered 503 and not passed on, "complete cut"
// is passed on, but its answer does not come back.
func newRoad(t *testing.T, server string, faults ...string) *road {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	r := &road{faults: faults, claims: make(chan struct{}, 1)}
	r.transport = &http.Transport{}
	r.proxy = &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport: r.transport, ErrorLog: silent(),
	}
	r.socket, err = boundSocket()
	if err != nil {
		t.Fatalf("take an address: %v", err)
	}
	t.Cleanup(func() { _ = r.socket.Close() })
	name, err := syscall.Getsockname(int(r.socket.Fd()))
	if err != nil {
		t.Fatalf("name of address: %v", err)
	}
	r.URL = fmt.Sprintf("http://127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	return r
}

// boundSocket is a socket of loopback that does not listen yet. Asking for a
// free port, closing it and listening later would be simpler, but in between
// anybody may get the port.
func boundSocket() (*os.File, error) {
	syscall.ForkLock.RLock() // no worker shall inherit it
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	socket := os.NewFile(uintptr(fd), "road")
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return socket, nil
}

// open lets the road be used until the test ends.
func (r *road) open(t *testing.T) {
	t.Helper()
	if err := syscall.Listen(int(r.socket.Fd()), 128); err != nil {
		t.Fatalf("listen: %v", err)
	}
	ln, err := net.FileListener(r.socket)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s := &http.Server{Handler: r, ErrorLog: silent()}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve road: %v", err)
		}
		r.transport.CloseIdleConnections()
	})
}

// silent drops what is logged of workers that leave: it is no news.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }

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
	if call == "claim" {
		select {
		case r.claims <- struct{}{}:
		default:
		}
	}
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
