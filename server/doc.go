// Package server puts one server together: its settings, its parts in their order, the
// routes, start-up and drain, metrics, memory, and the demo. It knows neighbours that do
// not know each other, and it is where the tests of the whole system are.
package server
