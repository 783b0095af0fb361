package cmd

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/jobcast/jobcast/server"
)

// settings are what all flags and environment variables of all commands have in
// common: how lists and networks are read, and that an empty variable is none.
func settings() []kong.Option {
	kinds := kong.NewRegistry().RegisterDefaults()
	network := reflect.TypeFor[netip.Prefix]()
	kinds.RegisterType(network, kong.MapperFunc(readNetwork))
	return []kong.Option{
		kong.TypeMapper(network, kong.MapperFunc(readNetwork)),
		kong.KindMapper(reflect.Slice, listMapper{kinds.ForType(reflect.TypeFor[[]string]())}),
		kong.PostBuild(ignoreEmptyVariables),
	}
}

// ignoreEmptyVariables makes variables that are set to nothing, or to blanks, count as
// unset. Files of variables and container definitions leave them behind.
func ignoreEmptyVariables(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		var tag *kong.Tag
		switch n := node.(type) {
		case *kong.Flag:
			tag = n.Tag
		case *kong.Value:
			tag = n.Tag
		default:
			return next(nil)
		}
		tag.Envs = slices.DeleteFunc(slices.Clone(tag.Envs), func(name string) bool {
			value, set := os.LookupEnv(name)
			return set && strings.TrimSpace(value) == ""
		})
		return next(nil)
	})
}

// refuseEmptyFlags returns an error for a flag that is given without a value, which
// most often is a variable of a script that is not set. Whoever wants the default
// leaves the flag out.
func refuseEmptyFlags(k *kong.Kong, args []string) error {
	flags := make(map[string]*kong.Flag)
	_ = kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error { // fails only if a function does
		if flag, ok := node.(*kong.Flag); ok && !flag.IsBool() {
			flags["--"+flag.Name] = flag
		}
		return next(nil)
	})
	for i, arg := range args {
		if arg == "--" {
			return nil
		}
		name, value, given := strings.Cut(arg, "=")
		if !given && i+1 < len(args) {
			value, given = args[i+1], true
		}
		if flag := flags[name]; flag != nil && given && strings.TrimSpace(value) == "" {
			return fmt.Errorf("%s is empty: write %s, or leave it out", name, example(flag))
		}
	}
	return nil
}

// example is a flag with a value.
func example(flag *kong.Flag) string {
	value := flag.Default
	if value == "" {
		value = flag.PlaceHolder
	}
	if value == "" {
		value = "VALUE"
	}
	return "--" + flag.Name + "=" + value
}

// listMapper reads lists: separated by commas, in one flag or in several, blanks
// around an item do not count, empty items and those that are there already neither.
// A list whose flag has another separator is read as it stands.
type listMapper struct{ items kong.Mapper }

// Decode implements kong.Mapper.
func (l listMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Value.Flag == nil || ctx.Value.Tag.Sep != ',' {
		return l.items.Decode(ctx, target)
	}
	token := ctx.Scan.Pop()
	text, ok := token.Value.(string)
	if !ok {
		ctx.Scan.PushToken(token)
		return l.items.Decode(ctx, target)
	}
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return fmt.Errorf("the list %q has no item: write %s", text, example(ctx.Value.Flag))
	}
	ctx.Scan.PushTyped(strings.Join(items, ","), token.Type)
	if err := l.items.Decode(ctx, target); err != nil {
		return err
	}
	once := reflect.MakeSlice(target.Type(), 0, target.Len())
	seen := make(map[any]bool)
	for i := range target.Len() {
		if item := target.Index(i); !seen[item.Interface()] {
			seen[item.Interface()] = true
			once = reflect.Append(once, item)
		}
	}
	target.Set(once)
	return nil
}

// readNetwork reads what server.ParseNetwork takes.
func readNetwork(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("network", &text); err != nil {
		return err
	}
	network, ok := server.ParseNetwork(strings.TrimSpace(text))
	if !ok {
		return fmt.Errorf("invalid network or address %q, want e.g. 10.0.0.0/8, fd00::/8 or 10.0.0.1", text)
	}
	target.Set(reflect.ValueOf(network))
	return nil
}

// trimSecret takes away what files and variables put around a secret: blanks, line
// ends of all systems, a byte order mark.
func trimSecret(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
}
