package engineio

// Due returns how many sessions wait for their tick.
func (srv *Server) Due() int {
	srv.clock.mu.Lock()
	defer srv.clock.mu.Unlock()
	return len(srv.clock.due)
}
