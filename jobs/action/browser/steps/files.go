package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"github.com/jobcast/jobcast/jobs"
)

const (
	maxUpload    = 10 << 20 // bytes of one file
	maxDownloads = 100      // of one attempt that are known

	loadPatience = 5 * time.Second // between a click on a link to a file and the site's answer
)

// upload gives a file input a file.
func (r *run) upload() error {
	open, what := r.config.Artifact, r.Artifact
	if r.URL != "" {
		open, what = r.config.Fetch, r.URL
	}
	if open == nil || r.config.Folder == "" {
		return errors.New("no file can be had here")
	}
	from, err := open(r.ctx, what)
	if err != nil {
		return err
	}
	defer from.Close()
	name := "upload"
	if base := path.Base(strings.SplitN(what, "?", 2)[0]); jobs.ValidArtifactName(base) {
		name = base
	}
	if err := r.put(name, from); err != nil {
		return err
	}
	return r.give(path.Join(r.config.Inside, name))
}

// put writes a file where the browser can read it.
func (r *run) put(name string, from io.Reader) error {
	folder, err := os.OpenRoot(r.config.Folder)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove file: %w", err)
	}
	file, err := folder.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	n, err := io.Copy(file, io.LimitReader(from, maxUpload+1))
	err = errors.Join(err, file.Close())
	if err == nil && n > maxUpload {
		err = &jobs.ActionError{Class: ClassTooLarge, Message: fmt.Sprintf("the file is larger than %d bytes", maxUpload)}
	}
	return err
}

// downloads are the files that pages have begun to load. The browser writes each to the
// attempt's folder, under a name of its own.
type downloads struct {
	stop context.CancelFunc

	mu      sync.Mutex           // guards what follows
	all     map[string]*download // by the name of the file
	frames  map[cdp.FrameID]bool // of the session's pages
	begun   int                  // by those frames
	changed chan struct{}        // closed at the next change
}

type download struct {
	frame cdp.FrameID // that began it
	name  string      // as the page suggests
	state browser.DownloadProgressState
}

// watchDownloads lets pages load files into the attempt's folder, if there is one.
func (s *Session) watchDownloads(ctx context.Context) (*downloads, error) {
	listening, cancel := context.WithCancel(ctx)
	d := &downloads{stop: cancel, all: make(map[string]*download), frames: make(map[cdp.FrameID]bool), changed: make(chan struct{})}
	if s.config.Folder == "" {
		return d, nil
	}
	err := chromedp.ListenBrowser(listening, d.hear)
	if err == nil {
		yes := true
		_, err = cdp.Call(ctx, s.browser, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
			Behavior:         browser.SetDownloadBehaviorBehaviorAllowAndName,
			BrowserContextID: s.context, DownloadPath: s.config.Inside, EventsEnabled: &yes,
		})
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch downloads: %w", err)
	}
	return d, nil
}

// hear takes an event of the browser. It hears of the downloads of other contexts too,
// whose files are in other folders.
func (d *downloads) hear(ev any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch ev := ev.(type) {
	case *browser.EventDownloadWillBegin:
		if d.frames[ev.FrameID] {
			d.begun++
		}
		if len(d.all) < maxDownloads {
			d.all[ev.GUID] = &download{frame: ev.FrameID, name: ev.SuggestedFilename, state: browser.DownloadProgressStateInProgress}
		}
	case *browser.EventDownloadProgress:
		if one := d.all[ev.GUID]; one != nil {
			one.state = ev.State
		}
	default:
		return
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// await waits until a frame begins a download.
func (d *downloads) await(ctx context.Context, frame cdp.FrameID) error {
	for {
		d.mu.Lock()
		begun, changed := false, d.changed
		for _, one := range d.all {
			begun = begun || one.frame == frame
		}
		d.mu.Unlock()
		if begun {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// count returns how many downloads the session's pages have begun.
func (d *downloads) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun
}

// awaitMore waits a while for one download more than there were. The browser tells of it
// after the page does.
func (d *downloads) awaitMore(ctx context.Context, than int, patience time.Duration) {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		d.mu.Lock()
		begun, changed := d.begun > than, d.changed
		d.mu.Unlock()
		if begun {
			return
		}
		select {
		case <-changed:
		case <-soon.Done():
			return
		}
	}
}

// from notes a frame of the session's pages.
func (d *downloads) from(id cdp.FrameID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.frames) < maxRequests {
		d.frames[id] = true
	}
}

// take returns a download that the session's pages have begun and that has ended, and
// forgets it. open says that there is one that has not ended, until changed.
func (d *downloads) take(folder *os.Root) (file string, one download, open bool, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for guid, one := range d.all {
		if !d.frames[one.frame] && !exists(folder, guid) && !exists(folder, guid+".crdownload") {
			if one.state != browser.DownloadProgressStateInProgress {
				delete(d.all, guid) // of another context
			}
			continue
		}
		if one.state != browser.DownloadProgressStateInProgress {
			delete(d.all, guid)
			return guid, *one, false, nil
		}
		open = true
	}
	return "", download{}, open, d.changed
}

// awaitDownload waits until the browser has told of a download that the step has begun, as
// far as the page lets it be known.
func (r *run) awaitDownload(before progress, begun int) {
	now := r.page.now()
	switch {
	case r.config.Folder == "" || now.commits > before.commits:
	case r.loads:
		r.down.awaitMore(r.ctx, begun, loadPatience)
	case now.files > before.files:
		r.down.awaitMore(r.ctx, begun, askPatience)
	}
}

func exists(folder *os.Root, name string) bool {
	_, err := folder.Lstat(name)
	return err == nil
}

// keepDownloads waits for the downloads that the step's page has begun and keeps each as an
// artifact, under the name that the page suggests.
func (r *run) keepDownloads() error {
	d := r.down
	d.mu.Lock()
	none := len(d.all) == 0
	d.mu.Unlock()
	if none {
		return nil
	}
	folder, err := os.OpenRoot(r.config.Folder)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = folder.Close() }()
	for {
		guid, one, open, changed := d.take(folder)
		switch {
		case guid != "":
			if err := r.keepDownload(folder, guid, one); err != nil {
				return err
			}
			continue
		case !open:
			return nil
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			if errors.Is(context.Cause(r.ctx), errLimit) {
				return timeout("Download failed: %dms exceeded", r.pageLimit().Milliseconds())
			}
			return context.Cause(r.ctx)
		}
	}
}

func (r *run) keepDownload(folder *os.Root, guid string, one download) error {
	name := artifactName(r.secrets.FileName(one.name, cleaned))
	if one.state != browser.DownloadProgressStateCompleted {
		return &jobs.ActionError{Class: ClassNavigation, Message: fmt.Sprintf("the download of %q was cancelled", name), Retryable: true}
	}
	info, err := folder.Lstat(guid)
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(errors.New("no file was written"), err)
	}
	file, err := folder.Open(guid)
	if err != nil {
		return fmt.Errorf("open download: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := r.env.Save(r.ctx, name, "", info.Size(), file); err != nil {
		return err
	}
	r.result.Downloads = append(r.result.Downloads, name)
	return folder.Remove(guid)
}

// cleaned is a file's name with _ for each character that no artifact may have in its name.
func cleaned(file string) string {
	return strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf && jobs.ValidArtifactName("x"+string(c)) {
			return c
		}
		return '_'
	}, file)
}

// artifactName makes an artifact's name of a clean one.
func artifactName(clean string) string {
	if over := len(clean) - jobs.MaxArtifactName; over > 0 {
		clean = clean[over:] // the extension stays
	}
	if !jobs.ValidArtifactName(clean) {
		return "download"
	}
	return clean
}
