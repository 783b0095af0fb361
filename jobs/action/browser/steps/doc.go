// Package steps is the vocabulary of browser jobs and how a page carries it out.
//
// A step is one action of a job: what Chrome's Recorder exports (navigate, click,
// change, …) and a few of ours (extract, screenshot, …). Parse reads and checks one
// without a browser; a Session, which is the pages of one attempt, runs it.
//
// Before a step acts on an element it waits until the element is attached, visible,
// still for two frames, enabled, and the topmost one at the point that the pointer will
// hit; to type into it, also until it is editable. A time-out says which of these failed.
package steps

import "github.com/jobcast/jobcast/jobs"

// Classes of failure that steps report, beside jobs.ClassTimeout.
const (
	ClassNavigation = "NavigationError"  // a page did not load; retried
	ClassCrashed    = "PageCrashed"      // the page's process ended; retried
	ClassClosed     = "BrowserClosed"    // the page or the browser is gone; retried
	ClassBlocked    = "BlockedAddress"   // a page that must not be opened; not retried
	ClassSelector   = "InvalidSelector"  // the page's parser refuses it; not retried
	ClassValue      = "InvalidValue"     // the element does not take the value; not retried
	ClassScript     = "ScriptError"      // an expression threw; not retried
	ClassTooLarge   = "ResultTooLarge"   // what was extracted or captured; not retried
	classTimeout    = jobs.ClassTimeout  // retried
	classInternal   = jobs.ClassInternal // retried
)
