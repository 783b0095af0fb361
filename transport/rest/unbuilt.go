package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport"
)

// unbuilt lists the paths that the contract names and this server does not
// offer. They say so, instead of looking like a typing error of the caller.
func unbuilt() map[string][]string {
	return map[string][]string{
		"/socket.io/": {fiber.MethodGet, fiber.MethodPost},
	}
}

func mountUnbuilt(r fiber.Router) {
	for path, methods := range unbuilt() {
		for _, method := range methods {
			r.Add(method, path, notImplemented)
		}
	}
}

func notImplemented(*fiber.Ctx) error {
	return transport.Refuse(transport.NotImplemented, "This server does not offer this part of the interface yet.")
}
