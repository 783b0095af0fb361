package client

import (
	"context"
	"net/http"
)

// Ready asks once whether the server takes new requests. It needs no key. Nil says yes;
// the error is a *Problem if there was an answer, which then says why not.
func (c *Client) Ready(ctx context.Context) error {
	var answer struct {
		Status string `json:"status"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/readyz", once: true}, &answer)
	if err == nil && answer.Status != "ready" {
		err = &Problem{Status: http.StatusOK, Title: foreign}
	}
	return wrap("ask for readiness", err)
}
