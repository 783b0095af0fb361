package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/jobcast/jobcast/jobs"
)

// aborted is the failure of a page that leaves the one before it where it is.
const aborted = "net::ERR_ABORTED"

// navigate opens a URL and waits until it has loaded.
func (r *run) navigate() error {
	if r.config.Check != nil {
		if err := r.config.Check(r.URL); err != nil {
			return err
		}
	}
	where, login := withoutLogin(r.URL)
	if login != nil {
		stop, err := r.logIn(login)
		if err != nil {
			return err
		}
		defer stop()
	}
	before := r.page.now()
	nav, err := call(r, page.Navigate, page.NavigateParams{URL: where})
	switch {
	case err != nil:
		return err
	case nav.IsDownload && r.config.Folder != "":
		return r.down.await(r.ctx, nav.FrameID)
	case nav.ErrorText != "":
		if nav.ErrorText != aborted {
			soon, cancel := context.WithTimeout(r.ctx, askPatience)
			_ = r.page.await(soon, func(p *progress) bool { return p.commits > before.commits && p.loaded }) // what is shown instead comes later
			cancel()
		}
		return r.unreached(nav.ErrorText, where)
	case nav.LoaderID == "": // another place of the same document, of which the news may come later
		soon, cancel := context.WithTimeout(r.ctx, askPatience)
		_ = r.page.await(soon, func(p *progress) bool { return p.moves > before.moves }) // if not, it is where it was
		cancel()
		return r.at(r.page.now())
	}
	return r.loaded(before)
}

// loaded waits until the page has come to another document and has loaded it.
func (r *run) loaded(before progress) error {
	err := r.page.await(r.ctx, func(p *progress) bool { return p.commits > before.commits && p.loaded })
	if err != nil {
		return err
	}
	now := r.page.now()
	if err := r.arrived(before); err != nil {
		return err
	}
	return r.at(now)
}

// at notes where the page is. It refuses a status that the step does not expect.
func (r *run) at(now progress) error {
	r.result.URL, r.result.Status = &now.url, now.status
	var list []int64
	if json.Unmarshal(r.ExpectStatus, &list) != nil {
		var one float64
		if json.Unmarshal(r.ExpectStatus, &one) == nil {
			list = []int64{int64(one)}
		}
	}
	if list == nil || slices.Contains(list, now.status) {
		return nil
	}
	return &jobs.ActionError{Class: ClassNavigation, Message: fmt.Sprintf("%d at %s", now.status, now.url), Retryable: true}
}

// goBack goes back in the page's history.
func (r *run) goBack() error {
	history, err := call(r, page.GetNavigationHistory, cdp.Empty{})
	if err != nil {
		return err
	}
	if history.CurrentIndex < 1 || int(history.CurrentIndex) > len(history.Entries) {
		return &jobs.ActionError{Class: ClassNavigation, Message: "the page has nothing to go back to"}
	}
	before := r.page.now()
	entry := history.Entries[history.CurrentIndex-1]
	if _, err := call(r, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entry.ID}); err != nil {
		return err
	}
	err = r.page.await(r.ctx, func(p *progress) bool { return p.moves > before.moves || (p.commits > before.commits && p.loaded) })
	if err != nil {
		return err
	}
	if err := r.arrived(before); err != nil {
		return err
	}
	return r.at(r.page.now())
}

func (r *run) reload() error {
	before := r.page.now()
	if _, err := call(r, page.Reload, page.ReloadParams{}); err != nil {
		return err
	}
	return r.loaded(before)
}

// closePage closes the page. A step that is about it afterwards fails.
func (r *run) closePage() error {
	closed, err := chromedp.Detached(r.page.ctx)
	if err != nil {
		return err
	}
	r.page.watch(func(error) {}) // its end is what was asked for
	if _, err := call(r, page.Close, cdp.Empty{}); err != nil && !errors.Is(err, chromedp.ErrTargetDetached) {
		return err
	}
	select {
	case <-closed:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	r.page.breakOff(pageClosed(), true)
	return nil
}
