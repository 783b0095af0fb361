package transporttest

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// NapTime is longer than a fasthttp server's cleaner sleeps between two looks at
// whether its server has been shut down.
const NapTime = 11 * time.Second

// KeepDateOutside makes fasthttp start the goroutine that keeps its Date header
// fresh, which it does once per process and never ends: begun inside a bubble, it
// would keep that from ending.
func KeepDateOutside() {
	srv := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}}
	pipe := NewPipe()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(pipe) }()
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return pipe.Dial(ctx)
	}}}
	resp, err := hc.Get("http://date.test/")
	if err != nil {
		panic(err)
	}
	_ = resp.Body.Close()
	hc.CloseIdleConnections()
	_ = pipe.Close()
	<-served
	_ = srv.Shutdown()
}
