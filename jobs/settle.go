package jobs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// Outcome is how an attempt stands after a step.
type Outcome int

// The outcomes of a step.
const (
	AttemptGoesOn    Outcome = iota // its lease is renewed, as by Append
	AttemptCompleted                // as by Complete
	AttemptFailed                   // as by Fail
	AttemptReleased                 // as by Release
	// AttemptUnclaimed is AttemptReleased for a claim whose answer nobody got. If the lease
	// was renewed since, somebody did get it, and the step is refused with ErrLeaseLost.
	AttemptUnclaimed
)

// Step is what became of one attempt.
type Step struct {
	Lease   Lease
	Events  []Body // progress and lines that come first; may be none
	Outcome Outcome
	Result  json.RawMessage // of AttemptCompleted: a JSON object; empty: {}
	State   *Sealed         // of AttemptCompleted: a browser state to keep with it; nil: none. *LimitError if there is no room
	Failure Failure         // of AttemptFailed
	Unseen  bool            // nobody looks at the job in the answer: if it was completed, that may be left out
}

// Settled answers one step.
type Settled struct {
	Job     Job     // if the attempt was completed or failed: as Brief returns it, abridged to BriefBytes of all steps
	Receipt Receipt // if it goes on
	Err     error   // why the step was refused; it left no trace then
}

// Follows reports whether c follows the end of an attempt.
func (c Claim) Follows() bool { return c.After != Lease{} }

// TokenBytes is how much of a lease's token is random: 128 bit cannot be guessed.
const TokenBytes = 16

// nextLabel separates what lease tokens are hashed for.
const nextLabel = "jobcast next lease"

// NextToken is the token of the lease that is claimed when the attempt under token ends. Who
// repeats that end is so told the same lease, although a store keeps hashes of tokens only.
func NextToken(token string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(nextLabel))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:TokenBytes])
}
