package transport

import (
	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

// MayWatch refuses a room that who does not see: a token of one job sees no other and not
// the client's whole log, which is meant by an empty job. What is no id of a job is not
// found.
func MayWatch(who auth.Identity, job string) error {
	if _, ok := jobs.ParseID(job); job != "" && !ok {
		return jobs.ErrNotFound
	}
	switch {
	case who.Sees(job):
		return nil
	case job == "":
		return Refuse(Forbidden, "This token may read one job only.")
	default:
		return jobs.ErrNotFound
	}
}
