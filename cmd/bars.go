package cmd

import (
	"fmt"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/jobcast/jobcast/client"
)

// bars shows one progress bar for each job on a terminal.
type bars struct{ all *mpb.Progress }

// bar is the line of one job.
type bar struct {
	line *mpb.Bar

	mu   sync.Mutex // guards word and note, which the drawing reads
	word string     // where the job stands
	note string     // what it does
}

func newBars(terminal io.Writer) *bars {
	return &bars{mpb.New(mpb.WithOutput(terminal), mpb.WithAutoRefresh())}
}

const (
	barWidth   = 24 // columns of the bar itself
	shownID    = 13 // of an id's characters, the ones that tell jobs of one second apart
	wordWidth  = 10 // of the longest status
	fullOfABar = 100
)

// add adds the line of a job.
func (b *bars) add(id string) *bar {
	j := &bar{word: "waiting"}
	short := oneLine(id)
	if len(short) > shownID {
		short = short[:shownID]
	}
	j.line = b.all.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarWidth(barWidth),
		mpb.PrependDecorators(
			decor.Name(short, decor.WC{W: shownID + 1, C: decor.DindentRight}),
			decor.Any(func(decor.Statistics) string { return j.text(&j.word) }, decor.WC{W: wordWidth + 1, C: decor.DindentRight})),
		mpb.AppendDecorators(
			decor.Any(func(s decor.Statistics) string { return fmt.Sprintf("%3d %% ", s.Current) }),
			decor.Any(func(decor.Statistics) string { return j.text(&j.note) })),
	)
	j.line.SetTotal(fullOfABar, false)
	return j
}

// text reads one of the guarded fields.
func (j *bar) text(field *string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return *field
}

// show draws what an event says; it does not fail.
func (j *bar) show(e client.Event) error {
	note := gist(e)
	switch e.Type {
	case client.EventProgress:
		var p client.Progress
		if e.Decode(&p) == nil {
			j.line.SetCurrent(int64(p.Progress))
			note = oneLine(p.Message)
		}
	case client.EventStarted, client.EventReset:
		j.line.SetCurrent(0)
	case client.EventCompleted:
		j.line.SetCurrent(fullOfABar)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Type != client.EventReset {
		j.word = string(e.Status)
	}
	if note != "" || e.Type.Terminal() {
		j.note = note
	}
	return nil
}

// end leaves the line as it is.
func (j *bar) end() { j.line.Abort(false) }

// above prints text over the bars.
func (b *bars) above(text string) { _, _ = b.all.Write([]byte(text)) }

// wait returns when all lines are drawn for the last time.
func (b *bars) wait() { b.all.Wait() }
