package transporttest

import (
	"encoding/json"
	"errors"

	"github.com/tidwall/gjson"

	"github.com/jobcast/jobcast/eventlog"
)

// What a reader takes in is parsed by gjson: under the race detector encoding/json takes
// several times as long, and the suite reads hundreds of thousands of events.

var errJSON = errors.New("not valid JSON")

// members calls each with the members of a JSON object.
func members(object []byte, each func(name string, value gjson.Result)) error {
	if !gjson.ValidBytes(object) {
		return errJSON
	}
	all := gjson.ParseBytes(object)
	if !all.IsObject() {
		return errors.New("not an object")
	}
	all.ForEach(func(name, value gjson.Result) bool {
		each(name.Str, value)
		return true
	})
	return nil
}

// nameAndData parses {"event": name, "data": anything}.
func nameAndData(message []byte) (name string, data json.RawMessage, err error) {
	err = members(message, func(member string, value gjson.Result) {
		switch member {
		case "event":
			name = value.Str
		case "data":
			data = json.RawMessage(value.Raw)
		}
	})
	return name, data, err
}

// arguments parses the array of a Socket.IO event.
func arguments(array []byte) ([]gjson.Result, error) {
	if !gjson.ValidBytes(array) {
		return nil, errJSON
	}
	all := gjson.ParseBytes(array)
	if !all.IsArray() {
		return nil, errors.New("not an array")
	}
	return all.Array(), nil
}

// entryOf returns what the suite compares of an event.
func entryOf(event []byte) (Entry, error) {
	var e Entry
	err := members(event, func(member string, value gjson.Result) {
		switch member {
		case "id":
			e.ID = value.Str
		case "type":
			e.Type = eventlog.Type(value.Str)
		case "jobId":
			e.Job = value.Str
		case "data":
			value.ForEach(func(name, text gjson.Result) bool {
				if name.Str == "message" || name.Str == "line" {
					e.Mark += text.Str
				}
				return true
			})
		}
	})
	return e, err
}
