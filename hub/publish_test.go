package hub

import "github.com/jobcast/jobcast/eventlog"

// Publish appends events and wakes who wants them, as a publisher that has nobody to answer.
func (h *Hub) Publish(events []eventlog.Event) {
	if wake := h.Append(events); wake != nil {
		wake()
	}
}
