package docs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// toJSON turns YAML into JSON, members in their order. Anchors and merge keys are carried
// out: JSON has none.
func toJSON(source []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	var out bytes.Buffer
	if err := write(&out, &root); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func write(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return write(out, n.Content[0])
	case yaml.AliasNode:
		return write(out, n.Alias)
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := write(out, item); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	case yaml.MappingNode:
		return writeObject(out, n)
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	out.Write(text)
	return nil
}

func writeObject(out *bytes.Buffer, n *yaml.Node) error {
	out.WriteByte('{')
	for i, m := range members(n) {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(m.name.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", m.name.Line, err)
		}
		out.Write(name)
		out.WriteByte(':')
		if err := write(out, m.value); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

type member struct{ name, value *yaml.Node }

// members are those of a mapping; what `<<` merges into it stands in its place, unless the
// mapping has a member of that name itself.
func members(n *yaml.Node) (all []member) {
	own := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		own[n.Content[i].Value] = true
	}
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Tag != "!!merge" {
			all = append(all, member{name, value})
			continue
		}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		for _, m := range members(value) {
			if !own[m.name.Value] {
				all = append(all, m)
			}
		}
	}
	return all
}
