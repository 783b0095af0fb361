package sqlite

import (
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// Codes of a job's status in the database. The SQL texts spell them as numbers,
// because a partial index is used only if its condition is spelled out.
const (
	pending    = 0
	processing = 1
	completed  = 2
	failed     = 3
	cancelled  = 4
	gone       = 5 // being pruned: nobody but Prune sees it
)

var statuses = [...]jobs.Status{
	pending: jobs.Pending, processing: jobs.Processing,
	completed: jobs.Completed, failed: jobs.Failed, cancelled: jobs.Cancelled,
}

func statusCode(s jobs.Status) (int, bool) {
	for code, name := range statuses {
		if name == s {
			return code, true
		}
	}
	return 0, false
}

// Codes of an event's type in the database.
const kindProgress = 3

var kinds = [...]eventlog.Type{
	1: eventlog.TypeCreated, 2: eventlog.TypeStarted, kindProgress: eventlog.TypeProgress,
	4: eventlog.TypeCompleted, 5: eventlog.TypeFailed, 6: eventlog.TypeRetrying,
	7: eventlog.TypeCancelled, 8: eventlog.TypeLog, 9: eventlog.TypeArtifact,
}

func kindCode(t eventlog.Type) (int, bool) {
	for code, name := range kinds {
		if name == t && code > 0 {
			return code, true
		}
	}
	return 0, false
}

// How the lease in last_lease ended.
const (
	endComplete = 1
	endFail     = 2
)

// millis is t as the database holds it; nil for the zero time.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// askedMillis is a time that was asked for, as the database holds it; nil for none.
func askedMillis(d time.Duration) any {
	if d <= 0 {
		return nil
	}
	return d.Milliseconds()
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
