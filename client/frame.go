package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var errTooLong = errors.New("a frame is longer than any that jobcast sends")

// readLine returns the next line, without its end, in memory of its own. Bytes
// that no line end follows are what a cut left over: errCut.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxFrameBytes {
			return nil, errTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, errCut
		default:
			return nil, err
		}
	}
}

// readSSE returns the next message of an event stream (WHATWG HTML 9.2.6): its
// name, empty for an unnamed one, and its data. Messages without data, comments
// and the fields id and retry are skipped: the ids are in the data too. A
// message that no blank line follows was cut: errCut.
func readSSE(r *bufio.Reader) (name string, data []byte, err error) {
	size, some := 0, false
	for {
		line, err := readLine(r)
		if err != nil {
			return "", nil, err
		}
		if size += len(line); size > maxFrameBytes {
			return "", nil, errTooLong
		}
		if len(line) == 0 {
			if some {
				return name, data, nil
			}
			name, size = "", 0
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if some {
				data = append(data, '\n')
			}
			data, some = append(data, value...), true
		}
	}
}
