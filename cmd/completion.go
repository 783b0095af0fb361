package cmd

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd is `jobcast completion`.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says where the script goes.
func (*completionCmd) Help() string {
	return `bash:  source <(jobcast completion bash)
zsh:   source <(jobcast completion zsh), behind compinit
fish:  jobcast completion fish | source`
}

// Run prints a script that knows every command and flag of this program.
func (c *completionCmd) Run(k *kong.Kong, std *Stdio) error {
	all := completions(k.Model.Node, nil)
	var err error
	switch c.Shell {
	case "bash":
		err = printBash(std.Out, all)
	case "zsh":
		if _, err = io.WriteString(std.Out, "autoload -U +X bashcompinit && bashcompinit\n"); err == nil {
			err = printBash(std.Out, all)
		}
	case "fish":
		err = printFish(std.Out, all)
	}
	if err != nil {
		return fmt.Errorf("print completion: %w", err)
	}
	return nil
}

// completion is what can follow one command.
type completion struct {
	path  string // of the command: "", "keys", "keys create"
	words []word
}

// word is a command below, or a flag.
type word struct {
	text, help string
	takes      bool     // a flag that takes a value
	values     []string // of a flag with a fixed set
}

// completions walks the commands, the outermost first.
func completions(n *kong.Node, path []string) []completion {
	c := completion{path: strings.Join(path, " ")}
	var below []completion
	for _, child := range n.Children {
		if child.Hidden {
			continue
		}
		c.words = append(c.words, word{text: child.Name, help: child.Help})
		below = append(below, completions(child, append(slices.Clone(path), child.Name))...)
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			w := word{text: "--" + f.Name, help: f.Help, takes: !f.IsBool()}
			if f.Enum != "" {
				w.values = slices.DeleteFunc(f.EnumSlice(), func(v string) bool { return v == "" })
			}
			c.words = append(c.words, w)
		}
	}
	for _, p := range n.Positional {
		if p.Enum != "" {
			for _, v := range p.EnumSlice() {
				if v != "" {
					c.words = append(c.words, word{text: v, help: p.Help})
				}
			}
		}
	}
	return append([]completion{c}, below...)
}

// printBash prints one function. It finds the longest command that the line
// begins with, then offers what can follow it; a flag's value is completed from
// its set, or as a file.
func printBash(w io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString(`_jobcast() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path="" word words i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    [ "$word" = -- ] && { COMPREPLY=($(compgen -c -f -- "$cur")); return; }
    case "$path${path:+ }$word" in
`)
	for _, c := range all {
		if c.path != "" {
			fmt.Fprintf(&b, "      %q) path=%q ;;\n", c.path, c.path)
		}
	}
	b.WriteString("    esac\n  done\n  case \"$path $prev\" in\n")
	for _, c := range all {
		for _, v := range c.words {
			switch {
			case len(v.values) > 0:
				fmt.Fprintf(&b, "    %q) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", c.path+" "+v.text, strings.Join(v.values, " "))
			case v.takes:
				fmt.Fprintf(&b, "    %q) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", c.path+" "+v.text)
			}
		}
	}
	b.WriteString("  esac\n  case \"$path\" in\n")
	for _, c := range all {
		var words []string
		for _, v := range c.words {
			words = append(words, v.text)
		}
		fmt.Fprintf(&b, "    %q) words=%q ;;\n", c.path, strings.Join(words, " "))
	}
	b.WriteString("  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o bashdefault -F _jobcast jobcast\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// printFish prints one line for each word, with a condition on the commands
// that stand before it.
func printFish(w io.Writer, all []completion) error {
	var b strings.Builder
	for _, c := range all {
		condition := "__fish_use_subcommand"
		if c.path != "" {
			condition = "true"
			for _, part := range strings.Fields(c.path) {
				condition += "; and __fish_seen_subcommand_from " + part
			}
		}
		for _, v := range c.words {
			fmt.Fprintf(&b, "complete -c jobcast -n %s -d %s", fishQuote(condition), fishQuote(v.help))
			if flag, ok := strings.CutPrefix(v.text, "--"); ok {
				fmt.Fprintf(&b, " -l %s", flag)
			} else {
				fmt.Fprintf(&b, " -f -a %s", fishQuote(v.text))
			}
			switch {
			case len(v.values) > 0:
				fmt.Fprintf(&b, " -x -a %s", fishQuote(strings.Join(v.values, " ")))
			case v.takes:
				b.WriteString(" -r")
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
