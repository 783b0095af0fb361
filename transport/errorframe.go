package transport

// Ref says which message an error answers.
type Ref struct {
	Event string `json:"event,omitempty"`
	JobID string `json:"jobId,omitempty"`
}

// ErrorFrame answers a message of a connection that has rooms, which was refused; nothing
// is closed by it. Elsewhere it is a ProblemFrame.
func ErrorFrame(p *Problem, r Ref) Frame {
	return Frame{Event: "error", Data: struct {
		Message string `json:"message"`
		*Problem
		Ref Ref `json:"ref"`
	}{p.Detail, p, r}}
}
