package transport

// Waker returns a function that never blocks, and a channel that receives after it was
// called; some calls in quick succession count as one. Nobody closes the channel.
func Waker() (wake func(), woken <-chan struct{}) {
	ch := make(chan struct{}, 1)
	return func() {
		select {
		case ch <- struct{}{}:
		default:
		}
	}, ch
}
