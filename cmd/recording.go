package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jobcast/jobcast/client"
)

// recorded is the body of a job that is a recording, with what flags say beside it.
func (c *submitCmd) recorded(std *Stdio) ([]byte, error) {
	text, err := read(std, c.Recording, "recording")
	if err != nil {
		return nil, err
	}
	if err := checkRecording(text); err != nil {
		name := c.Recording
		if name == "-" {
			name = "standard input"
		}
		return nil, &usageError{fmt.Errorf("%s is no recording: %w", name, err)}
	}
	job := map[string]any{}
	if c.add(job); len(job) == 0 {
		return text, nil
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal(text, &own); err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	for name, value := range own {
		if _, said := job[name]; !said {
			job[name] = value
		}
	}
	return json.Marshal(job)
}

// export is what to do about a file that the Recorder has written in another format.
const export = "export it from the Recorder of Chrome's developer tools once more, as a JSON file"

// code matches how the scripts begin that the Recorder exports too.
var code = regexp.MustCompile(`(?m)^\s*(//|/\*|import\b|const\b|let\b|require\(|describe\()`)

// checkRecording says what is wrong with a file that is no recording at all; what is wrong
// with its steps, the server says.
func checkRecording(text []byte) error {
	var all map[string]json.RawMessage
	var syntax *json.SyntaxError
	err := json.Unmarshal(text, &all)
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("it is empty")
	case errors.As(err, &syntax) && code.Match(text):
		return fmt.Errorf("it is a script; %s", export)
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
		return fmt.Errorf("line %d is not JSON: %w", line, err)
	case err != nil || all == nil:
		return fmt.Errorf("it is not an object with steps; %s", export)
	case all["steps"] == nil && (all["actions"] != nil || all["queue"] != nil):
		return errors.New("it is a job; give it with --file")
	case all["steps"] == nil:
		return fmt.Errorf("it has no steps; %s", export)
	}
	var steps []json.RawMessage
	if json.Unmarshal(all["steps"], &steps) != nil {
		return errors.New("its steps are not a list")
	}
	if len(steps) == 0 {
		return errors.New("it has no steps; record some before you export it")
	}
	return nil
}

// refusedRecording says what the server finds wrong with a recording in the words that the
// Recorder shows: the number of a step, from 1, and its type.
func refusedRecording(err error, body []byte) error {
	var p *client.Problem
	if !errors.As(err, &p) || len(p.Errors) == 0 {
		return err
	}
	var recording struct{ Steps []json.RawMessage }
	_ = json.Unmarshal(body, &recording) // it was read before
	var lines strings.Builder
	for _, e := range p.Errors {
		lines.WriteString("\n  " + inStep(e.Pointer, recording.Steps) + ": " + e.Detail)
	}
	return &exitError{exitCode(err), fmt.Errorf("the server does not take the recording:%s", lines.String())}
}

// inStep reads /steps/3/selectors/0 as step 4 (click), /selectors/0. Other pointers stay.
func inStep(pointer string, steps []json.RawMessage) string {
	rest, ok := strings.CutPrefix(pointer, "/steps/")
	number, inside, deeper := strings.Cut(rest, "/")
	i, err := strconv.Atoi(number)
	if !ok || err != nil || i < 0 || i >= len(steps) {
		return pointer
	}
	var step struct{ Type, Name string }
	_ = json.Unmarshal(steps[i], &step) // the server says if its type is none
	text := fmt.Sprintf("step %d", i+1)
	switch {
	case step.Type == "customStep" && step.Name != "":
		text += fmt.Sprintf(" (%s)", oneLine(step.Name))
	case step.Type != "":
		text += fmt.Sprintf(" (%s)", oneLine(step.Type))
	}
	if deeper {
		text += ", /" + inside
	}
	return text
}
