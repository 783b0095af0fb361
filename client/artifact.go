package client

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
)

// Artifact uploads a file that the job leaves behind and waits for the server
// to have it. name is 1 to 128 of A-Z, a-z, 0-9, dot, underscore and hyphen; its
// ending says the content type. A reader that can seek is sent again after a
// network fault. The upload ends with the handler's context.
func (a *Attempt) Artifact(name string, content io.Reader) (Artifact, error) {
	made, err := a.upload(name, content)
	return made, wrap("upload artifact "+name, err)
}

func (a *Attempt) upload(name string, content io.Reader) (made Artifact, err error) {
	if a.reports == nil {
		return made, errNotRun
	}
	seeker, repeatable := content.(io.Seeker)
	var start, size int64 = 0, -1
	if repeatable {
		if start, size, err = measure(seeker); err != nil {
			return made, fmt.Errorf("measure content: %w", err)
		}
	}
	patience := newPatience(a.ttl)
	for {
		err := a.put(name, content, size, &made)
		if err == nil || !repeatable || !passing(err) {
			return made, err
		}
		wait, lost := patience.next(err, askedWait(err))
		if lost != nil {
			return made, lost
		}
		if err := pause(a.ctx, wait); err != nil {
			return made, err
		}
		if _, err := seeker.Seek(start, io.SeekStart); err != nil {
			return made, fmt.Errorf("begin anew: %w", err)
		}
	}
}

// put uploads once; size -1 is not known.
func (a *Attempt) put(name string, content io.Reader, size int64, made *Artifact) error {
	req, err := a.c.request(a.ctx, http.MethodPut, jobPath(a.id)+"/artifacts/"+url.PathEscape(name))
	if err != nil {
		return err
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Lease-Token", a.token)
	req.Body = io.NopCloser(content) // it is the caller's to close
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	_, err = a.c.answer(req, made)
	return err
}

// measure returns the place of s and how many bytes follow it.
func measure(s io.Seeker) (start, size int64, err error) {
	if start, err = s.Seek(0, io.SeekCurrent); err != nil {
		return 0, 0, err
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.Seek(start, io.SeekStart)
	}
	return start, max(end-start, 0), err
}
