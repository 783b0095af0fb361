package steps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	cdpio "github.com/chromedp/cdproto/io"
	"github.com/chromedp/cdproto/page"

	"github.com/jobcast/jobcast/jobs"
)

const (
	// maxExtract caps what one step keeps in the job's result, in bytes of JSON, or about.
	maxExtract = 32 << 10
	// maxPicture caps a picture's sides, in CSS pixels, and maxPixels all of it. The browser
	// paints no larger sides, and it takes 4 bytes for each pixel.
	maxPicture = 16_384
	maxPixels  = 64_000_000
	pdfChunk   = 256 << 10
)

// extract keeps something of an element in the job's result.
func (r *run) extract() error {
	ask := map[string]any{"what": r.What, "attribute": r.Attribute, "all": r.All, "most": maxExtract}
	e, err := r.find(need{})
	if err != nil {
		return err
	}
	defer r.settle()
	var got *struct{ Whole json.RawMessage }
	if err := r.among(e.frame, "extract", &got, ask); err != nil {
		return err
	}
	if got == nil {
		return tooLarge(fmt.Sprintf("of %q", r.alternatives[e.index]))
	}
	return r.keep(got.Whole)
}

func tooLarge(what string) error {
	return &jobs.ActionError{
		Class: ClassTooLarge, Message: fmt.Sprintf("what the step keeps %s is larger than %d bytes: keep less, or an artifact", what, maxExtract),
	}
}

// keep puts a value into the job's result.
func (r *run) keep(value json.RawMessage) error {
	if len(value) > 2*maxExtract { // characters of up to two bytes more
		return tooLarge("in the result")
	}
	if r.env.Data == nil {
		return fmt.Errorf("keep %q: there is no result to keep it in", r.Name)
	}
	value, err := r.secrets.Value(value)
	if err != nil {
		return fmt.Errorf("keep %q: %w", r.Name, err)
	}
	r.result.Name = r.Name
	return r.env.Data(r.Name, value)
}

// screenshot keeps a picture of the page, or of an element.
func (r *run) screenshot() error {
	p := page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng}
	switch r.Format {
	case "jpeg":
		p.Format = page.CaptureScreenshotFormatJpeg
	case "webp":
		p.Format = page.CaptureScreenshotFormatWebp
	}
	if p.Format != page.CaptureScreenshotFormatPng {
		quality := int64(80)
		if r.Quality > 0 {
			quality = int64(r.Quality)
		}
		p.Quality = &quality
	}
	var size struct{ Width, Height, Scale float64 }
	if err := r.inMain("calm", &size); err != nil {
		return err
	}
	defer r.settle()
	defer func() { _ = r.inMain("stir", nil) }() // the page may have moved on
	r.maskFields()
	yes := true
	switch {
	case r.FullPage:
		p.CaptureBeyondViewport = &yes
		p.Clip = &page.Viewport{Width: size.Width, Height: size.Height, Scale: 1}
	case len(r.alternatives) > 0:
		clip, err := r.clip()
		if err != nil {
			return err
		}
		p.Clip, p.CaptureBeyondViewport = clip, &yes
	}
	if p.Clip != nil {
		p.Clip.Width = min(p.Clip.Width, maxPicture)
		p.Clip.Height = min(p.Clip.Height, maxPicture, maxPixels/max(1, p.Clip.Width*size.Scale*size.Scale))
	}
	shot, err := call(r, page.CaptureScreenshot, p)
	if err != nil {
		return err
	}
	return r.save(r.fileName(string(p.Format), "jpg"), "image/"+string(p.Format), int64(len(shot.Data)), bytes.NewReader(shot.Data))
}

// clip is where in the page an element is.
func (r *run) clip() (*page.Viewport, error) {
	e, err := r.find(need{Visible: true, Still: true})
	if err != nil {
		return nil, err
	}
	var box struct{ X, Y, Width, Height float64 }
	if err := r.on(e, "corner", &box); err != nil {
		return nil, err
	}
	e.X, e.Y = box.X, box.Y
	why, err := r.toWindow(&e, false)
	switch {
	case err != nil:
		return nil, fmt.Errorf("place element: %w", err)
	case why != "":
		return nil, timeout("A picture of %q could not be taken (%s)", r.alternatives[e.index], why)
	}
	var scrolled struct{ X, Y float64 }
	if err := r.inMain("scrolled", &scrolled); err != nil {
		return nil, err
	}
	return &page.Viewport{X: e.X + scrolled.X, Y: e.Y + scrolled.Y, Width: box.Width, Height: box.Height, Scale: 1}, nil
}

// fileName is the name of the step's artifact, with a file's extension, of which there may
// be another spelling.
func (r *run) fileName(extension string, spellings ...string) string {
	for _, e := range append(spellings, extension) {
		if strings.HasSuffix(strings.ToLower(r.Name), "."+e) {
			return r.Name
		}
	}
	return r.Name + "." + extension
}

// save keeps an artifact of the job.
func (r *run) save(name, contentType string, size int64, from io.Reader) error {
	_, err := r.env.Save(r.ctx, name, contentType, size, from)
	r.result.Artifact = name
	return err
}

// pdf keeps the page, printed.
func (r *run) pdf() error {
	sizes := map[string][2]float64{ // inches
		"Letter": {8.5, 11}, "Legal": {8.5, 14}, "Tabloid": {11, 17},
		"A3": {11.69, 16.54}, "A4": {8.27, 11.69}, "A5": {5.83, 8.27},
	}
	size, ok := sizes[r.Format]
	if !ok {
		size = sizes["A4"]
	}
	r.maskFields()
	made, err := call(r, page.PrintToPDF, page.PrintToPDFParams{
		Landscape: &r.Landscape, PrintBackground: &r.Background, PaperWidth: size[0], PaperHeight: size[1],
		TransferMode: page.PrintToPDFTransferModeReturnAsStream,
	})
	if err != nil {
		return err
	}
	defer func() { _, _ = call(r, cdpio.Close, cdpio.CloseParams{Handle: made.Stream}) }() // it ends with the page
	return r.save(r.fileName("pdf"), "application/pdf", -1, &streamReader{r: r, handle: made.Stream})
}

// streamReader reads what the browser has made in pieces.
type streamReader struct {
	r      *run
	handle cdpio.StreamHandle
	left   []byte
	end    bool
}

// Read implements io.Reader.
func (s *streamReader) Read(b []byte) (int, error) {
	for len(s.left) == 0 {
		if s.end {
			return 0, io.EOF
		}
		piece, err := call(s.r, cdpio.Read, cdpio.ReadParams{Handle: s.handle, Size: pdfChunk})
		if err != nil {
			return 0, err
		}
		s.left, s.end = piece.Data, piece.EOF
	}
	n := copy(b, s.left)
	s.left = s.left[n:]
	return n, nil
}
