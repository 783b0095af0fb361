package transporttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/jobcast/jobcast/eventlog"
)

// stream reads one long response.
type stream struct {
	body    io.ReadCloser
	lines   *bufio.Reader
	leave   func()
	cursor  string
	pending []Item // the rest of what a block says
	parse   func(s *stream) (Item, error)
}

func openSSE(ctx context.Context, c Caller, o Opening) (Reader, error) {
	return openStream(ctx, c, o, mediaSSE, (*stream).nextSSE)
}

func openNDJSON(ctx context.Context, c Caller, o Opening) (Reader, error) {
	return openStream(ctx, c, o, mediaNDJSON, (*stream).nextLine)
}

func openStream(ctx context.Context, c Caller, o Opening, accept string, parse func(*stream) (Item, error)) (Reader, error) {
	ctx, cancel := context.WithCancel(ctx)
	hc := c.Client()
	leave := func() {
		cancel()
		hc.CloseIdleConnections()
	}
	resp, err := get(ctx, hc, c, o, accept)
	if err != nil {
		leave()
		return nil, err
	}
	if o.Cursor == "" {
		o.Cursor = o.Query
	}
	return newStream(resp, leave, o.Cursor, parse), nil
}

// newStream reads resp; cursor is what the reader came with.
func newStream(resp *http.Response, leave func(), cursor string, parse func(*stream) (Item, error)) *stream {
	return &stream{
		body: resp.Body, lines: bufio.NewReader(resp.Body), cursor: cursor, parse: parse,
		leave: func() {
			leave()
			_ = resp.Body.Close()
		},
	}
}

// Next implements Reader.
func (s *stream) Next() (Item, error) {
	it, err := s.parse(s)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrCut, err)
	}
	if it.ID != "" {
		s.cursor = it.ID
	}
	return it, err
}

// Cursor implements Reader.
func (s *stream) Cursor() string { return s.cursor }

// Close implements Reader.
func (s *stream) Close() { s.leave() }

// line returns one line without its end. A line without an end is a cut, also
// if the response ended cleanly.
func (s *stream) line() (string, error) {
	text, err := s.lines.ReadString('\n')
	if errors.Is(err, io.EOF) && text != "" {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimSuffix(text, "\n"), err
}

// nextSSE reads one block of an event stream (WHATWG HTML 9.2.6). Some parsers hand out
// each block, whatever is in it, and many take no line of 64 KiB: so no block is
// without data or too large, and a sign of life is a comment that begins a block.
func (s *stream) nextSSE() (Item, error) {
	if len(s.pending) > 0 {
		it := s.pending[0]
		s.pending = s.pending[1:]
		return it, nil
	}
	var it Item
	var retry, data string
	for n, size := 0, 0; ; n++ {
		line, err := s.line()
		if err != nil {
			if n > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // a block that was never dispatched
			}
			return Item{}, err
		}
		if size += len(line) + len("\n"); size > eventlog.MaxFrameBytes {
			return Item{}, fmt.Errorf("%w: a block of more than %d bytes", ErrWire, size)
		}
		if line == "" {
			break
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			if n > 0 {
				return Item{}, fmt.Errorf("%w: a comment inside of a block", ErrWire)
			}
			return Item{Name: Heartbeat}, nil
		case "id":
			it.ID = value
		case "event":
			it.Name = value
		case "data":
			data += value
		case "retry":
			retry = value
		default:
			return Item{}, fmt.Errorf("%w: unknown field in %q", ErrWire, line)
		}
	}
	switch {
	case data == "":
		return Item{}, fmt.Errorf("%w: a block without data", ErrWire)
	case it.Name == "":
		it.Event = json.RawMessage(data)
	default:
		it.Data = json.RawMessage(data)
	}
	if retry != "" {
		s.pending = append(s.pending, it)
		return Item{Name: Retry, Data: json.RawMessage(retry)}, nil
	}
	return it, nil
}

// nextLine reads one line of NDJSON.
func (s *stream) nextLine() (Item, error) {
	line, err := s.line()
	if err != nil {
		return Item{}, err
	}
	if len(line)+len("\n") > eventlog.MaxFrameBytes {
		return Item{}, fmt.Errorf("%w: a line of %d bytes", ErrWire, len(line))
	}
	name, data, err := nameAndData([]byte(line))
	if err != nil {
		return Item{}, fmt.Errorf("line %q: %w", line, err)
	}
	return newItem(name, data)
}
