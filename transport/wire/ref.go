package wire

import "sync/atomic"

// Ref refers to the connection of a stream, which may be woken before it has one. The
// zero value refers to none.
type Ref struct{ atomic.Pointer[Conn] }

// Attach lets wakes reach c, and makes up for those before it.
func (r *Ref) Attach(c *Conn) {
	r.Store(c)
	c.Wake()
}

// Wake wakes the connection, if there is one, and reports whether there is.
func (r *Ref) Wake() bool {
	c := r.Load()
	if c != nil {
		c.Wake()
	}
	return c != nil
}
