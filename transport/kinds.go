package transport

import (
	"slices"
	"sync"
)

// kinds are the names of all transports.
var kinds struct {
	sync.Mutex
	names []string
}

// Register makes a transport known by its name, under which metrics, limits and logs count
// its connections, and returns the name. A transport does so once, in a package variable.
func Register(name string) string {
	kinds.Lock()
	defer kinds.Unlock()
	kinds.names = append(kinds.names, name)
	return name
}

// Kinds returns the names of all transports.
func Kinds() []string {
	kinds.Lock()
	defer kinds.Unlock()
	return slices.Clone(kinds.names)
}
