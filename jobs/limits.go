package jobs

import (
	"fmt"
	"time"
)

// Limits bounds what clients may fill. The zero value bounds nothing.
type Limits struct {
	JobsPerClient      int64 // pending and running jobs of one client; 0: any number
	ArtifactsPerClient int64 // bytes of all artifacts of one client; 0: any number
	Storage            int64 // bytes of the data folder; 0: any number

	// QueueTTL is how long a job with a queue waits to be begun if its submit
	// does not say; 0: for ever.
	QueueTTL time.Duration
}

// Limit names a bound. The names are those of the refusals on the wire.
type Limit string

// The bounds.
const (
	LimitJobs      Limit = "job_limit"
	LimitArtifacts Limit = "artifact_limit"
	LimitStorage   Limit = "storage_full"
	LimitSecrets   Limit = "secret_limit"
	LimitStates    Limit = "state_limit"
)

// LimitError refuses what would go beyond a bound; nothing was stored. A bound on
// storage that is reached is also ErrStorageFull.
type LimitError struct {
	What  Limit
	Max   int64 // the bound: jobs, secrets, or bytes
	Used  int64 // how much of it is taken
	Asked int64 // how much more the refused command would take, at least
}

// Error says in words for the client what is full and what to do.
func (e *LimitError) Error() string {
	switch e.What {
	case LimitJobs:
		if e.Asked > 1 {
			return fmt.Sprintf("This client has %d of %d jobs pending or running, and this needs room for %d more. "+
				"Wait until some of them end, or cancel some.", e.Used, e.Max, e.Asked)
		}
		return fmt.Sprintf("This client has %d of %d jobs pending or running. Wait until some of them end, or cancel some.",
			e.Used, e.Max)
	case LimitArtifacts:
		return fmt.Sprintf("The artifacts of this client take %d of %d bytes, and this one needs %d more. "+
			"They go with their jobs, --retention after the end of each: wait for that, or store less.", e.Used, e.Max, e.Asked)
	case LimitSecrets:
		return fmt.Sprintf("This client has %d of %d secrets. Delete some.", e.Used, e.Max)
	case LimitStates:
		return fmt.Sprintf("This client has %d of %d browser states. Delete some.", e.Used, e.Max)
	default:
		return fmt.Sprintf("The server's storage holds %d of %d bytes, and this needs %d more. "+
			"Jobs that have ended make room when they are deleted: try again later, or ask the operator for more.", e.Used, e.Max, e.Asked)
	}
}

// Is makes a bound on storage that is reached the same as a full disk.
func (e *LimitError) Is(target error) bool { return target == ErrStorageFull && e.What == LimitStorage }

// Usage is what one client fills.
type Usage struct {
	Jobs      int64 // pending and running
	Artifacts int64 // bytes
}

// Filled is what all clients fill, for metrics.
type Filled struct {
	Storage   int64 // bytes of the data folder
	Artifacts int64 // bytes of all artifacts
	Most      Usage // the most that any client has of each
}

// Hold is room that is kept for an artifact while its bytes arrive.
type Hold struct {
	ID    string // chosen by the caller, unique
	Name  string // of the artifact
	Least int64  // bytes that are needed
	Most  int64  // bytes that are welcome; at least Least
}
