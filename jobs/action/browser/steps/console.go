package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/redact"
)

// What pages may write into the log of their job.
const (
	maxLine      = 2 << 10 // bytes of a line
	maxPosition  = 512     // of its end, which says where it comes from
	lineWindow   = time.Second
	windowLines  = 100    // in each lineWindow
	attemptLines = 10_000 // of an attempt
	drainTime    = time.Second
	abbreviated  = 100 // characters: to so many the browser shortens a text in a preview, by its middle or its end
)

// console writes what pages log into the log of their job, in its order, from a level on.
// A page that logs more than it may is told of as a number of lines that are not there.
type console struct {
	level int // place in jobs.LogLevels
	write func(context.Context, []jobs.LogLine) error
	news  chan struct{} // capacity one

	sending sync.Mutex // held while lines are written; taken before mu

	mu      sync.Mutex // guards what follows
	lines   []jobs.LogLine
	window  time.Time // begin of the newest one
	inside  int       // lines in it
	all     int       // lines of the attempt
	dropped int       // that nobody was told of
}

// newConsole returns nil if nobody wants what pages log.
func newConsole(c Config) *console {
	level := slices.Index(jobs.LogLevels, c.Console)
	if level < 0 || c.Log == nil {
		return nil
	}
	return &console{level: level, write: c.Log, news: make(chan struct{}, 1)}
}

// add takes a line. It does not block.
func (c *console) add(l message) {
	if slices.Index(jobs.LogLevels, l.Level) < c.level {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.window) >= lineWindow {
		c.window, c.inside = now, 0
	}
	if c.inside == windowLines || c.all == attemptLines {
		c.dropped++
		return
	}
	if c.inside == 0 {
		c.tell()
	}
	c.inside++
	c.all++
	c.lines = append(c.lines, jobs.LogLine{Level: l.Level, Line: l.line()})
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// miss counts a line that nobody has read.
func (c *console) miss(l message) {
	if slices.Index(jobs.LogLevels, l.Level) < c.level {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped++
}

// tell adds a line about those that were dropped. It is called with mu held.
func (c *console) tell() {
	if c.dropped > 0 {
		c.lines = append(c.lines, jobs.LogLine{Level: "warn", Line: fmt.Sprintf("jobcast left out %d lines of the console", c.dropped)})
		c.dropped = 0
	}
}

// run writes lines as they come until ctx ends.
func (c *console) run(ctx context.Context) {
	for {
		select {
		case <-c.news:
			c.send(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// send writes the lines that there are, and returns when they stand in the log. What the
// log does not take is lost.
func (c *console) send(ctx context.Context) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	lines := c.lines
	c.lines = nil
	c.mu.Unlock()
	for chunk := range slices.Chunk(lines, jobs.MaxReports) {
		_ = c.write(ctx, chunk) // an attempt that has lost its job, or storage that is full
	}
}

// end writes what is left.
func (c *console) end() {
	c.mu.Lock()
	c.tell()
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	c.send(ctx)
}

// message is something that a page, or the browser about it, says in the console.
type message struct {
	Kind  string `json:"-"` // console, exception or browser, as in record
	Level string `json:"level"`
	Text  string `json:"text"`
	At    string `json:"at,omitempty"` // URL:line:column
}

// line is the message as a line of the log.
func (m message) line() string {
	if m.At == "" {
		return m.Text
	}
	return m.Text + " (" + m.At + ")"
}

// spoken tells what kind of message an event is, and its level; false: it is none.
func spoken(ev any) (m message, ok bool) {
	switch ev := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		m.Kind = "console"
		switch ev.Type {
		case runtime.ConsoleAPICalledTypeClear, runtime.ConsoleAPICalledTypeEndGroup,
			runtime.ConsoleAPICalledTypeProfile, runtime.ConsoleAPICalledTypeProfileEnd:
			return m, false
		case runtime.ConsoleAPICalledTypeDebug:
			m.Level = "debug"
		case runtime.ConsoleAPICalledTypeWarning:
			m.Level = "warn"
		case runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeAssert:
			m.Level = "error"
		default:
			m.Level = "info"
		}
	case *runtime.EventExceptionThrown:
		m.Kind, m.Level = "exception", "error"
	case *log.EventEntryAdded:
		m.Kind, m.Level = "browser", "error"
		return m, ev.Entry.Level == log.EntryLevelError
	default:
		return m, false
	}
	return m, true
}

// understand reads what a message says, and where it comes from.
func (p *tab) understand(m *message, ev any) {
	secrets := p.session.secrets
	var at string
	switch ev := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		m.Text, at = written(ev.Args, secrets), top(ev.StackTrace)
	case *runtime.EventExceptionThrown:
		d := ev.ExceptionDetails
		m.Text = d.Text
		if d.Exception != nil {
			what, _, _ := strings.Cut(shown(d.Exception), "\n    at ")
			m.Text += " " + what
		}
		if at = top(d.StackTrace); at == "" {
			at = position(d.URL, d.LineNumber, d.ColumnNumber)
		}
	case *log.EventEntryAdded:
		m.Text = ev.Entry.Text
		if at = top(ev.Entry.StackTrace); at == "" {
			at = ev.Entry.URL
		}
	}
	m.At, _ = secrets.Cut(at, maxPosition)
	var longer bool
	if m.Text, longer = secrets.Cut(m.Text, maxLine); longer {
		m.Text += "…"
	}
	m.Text, m.At = strings.ToValidUTF8(m.Text, "\uFFFD"), strings.ToValidUTF8(m.At, "\uFFFD")
}

// top is where in a script something was called; empty: nobody knows.
func top(stack *runtime.StackTrace) string {
	if stack == nil || len(stack.CallFrames) == 0 {
		return ""
	}
	f := stack.CallFrames[0]
	return position(f.URL, f.LineNumber, f.ColumnNumber)
}

// position names a place in a file as people count it.
func position(url string, line, column int64) string {
	if url == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", url, line+1, column+1)
}

// written is what a call with these arguments shows in the console. What gives them their
// form may be a secret itself, which nobody would know again.
func written(args []*runtime.RemoteObject, secrets *redact.Redactor) string {
	if len(args) == 0 {
		return ""
	}
	var parts []string
	if first := args[0]; first.Type == runtime.RemoteObjectTypeString {
		form, _ := secrets.Cut(shown(first), 2*maxLine) // so that it is known to be too long if it is
		text, used := format(form, args[1:])
		parts, args = append(parts, text), args[1+used:]
	}
	for _, a := range args {
		parts = append(parts, shown(a))
	}
	return strings.Join(parts, " ")
}

// format puts values in the place of the console's specifiers and returns how many it used.
func format(text string, values []*runtime.RemoteObject) (out string, used int) {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '%')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			return b.String(), used
		}
		b.WriteString(text[:i])
		verb := text[i+1]
		text = text[i+2:]
		switch {
		case verb == '%':
			b.WriteByte('%')
		case !strings.ContainsRune("sdifoOc", rune(verb)) || used == len(values):
			b.WriteByte('%')
			b.WriteByte(verb)
		default:
			if verb != 'c' { // which is for a style
				b.WriteString(shown(values[used]))
			}
			used++
		}
	}
}

// shown is a value as the console shows it.
func shown(o *runtime.RemoteObject) string {
	switch {
	case o.Type == runtime.RemoteObjectTypeString:
		return stringOf(o.Value)
	case o.UnserializableValue != "":
		return string(o.UnserializableValue)
	case o.Preview != nil && o.Subtype != runtime.RemoteObjectSubtypeError && o.Subtype != runtime.RemoteObjectSubtypeNode:
		return preview(o.Preview)
	case o.Description != "":
		return o.Description
	case len(o.Value) > 0:
		return string(o.Value)
	}
	return string(o.Type)
}

// preview is what the browser shows of an object: {a: 1, b: "x"}, [1, 2].
func preview(p *runtime.ObjectPreview) string {
	list := p.Subtype == runtime.ObjectPreviewSubtypeArray
	var parts []string
	for _, m := range p.Properties {
		value := m.Value
		switch {
		case m.ValuePreview != nil:
			value = preview(m.ValuePreview)
		case utf8.RuneCountInString(value) >= abbreviated:
			value = "…" // which may have the ends of a secret
		}
		if m.ValuePreview == nil && m.Type == runtime.PropertyPreviewTypeString {
			value = `"` + value + `"`
		}
		if !list {
			value = m.Name + ": " + value
		}
		parts = append(parts, value)
	}
	if p.Overflow {
		parts = append(parts, "…")
	}
	switch {
	case list:
		return "[" + strings.Join(parts, ", ") + "]"
	case len(p.Properties) == 0 && p.Description != "Object":
		return p.Description
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
