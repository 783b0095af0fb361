package steps

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/chromedp/chromedp/kb"
)

// chord is a key, with modifiers that are held meanwhile.
type chord struct {
	modifiers []kb.Key
	key       kb.Key
}

// chord reads a key's name, after modifiers joined with + if they are allowed.
func (f *faults) chord(text string, modifiers bool) chord {
	var c chord
	names := []string{text}
	if modifiers && len(text) > 1 {
		names = strings.Split(text, "+")
		if strings.HasSuffix(text, "++") { // the key is + itself
			names = append(strings.Split(strings.TrimSuffix(text, "++"), "+"), "+")
		}
	}
	for i, name := range names {
		key, ok := keyNamed(name)
		switch {
		case !ok:
			f.addf("/key", "is not the name of a key")
			return c
		case i == len(names)-1:
			c.key = key
		case modifierOf(key) == 0:
			f.addf("/key", "only Alt, Control, Meta and Shift can be held with a key")
			return c
		default:
			c.modifiers = append(c.modifiers, key)
		}
	}
	return c
}

// modifierOf returns the bit of a modifier key, 0 for any other key.
func modifierOf(k kb.Key) kb.Modifier {
	switch k.Key {
	case "Alt":
		return kb.ModifierAlt
	case "Control":
		return kb.ModifierCtrl
	case "Meta":
		return kb.ModifierMeta
	case "Shift":
		return kb.ModifierShift
	}
	return kb.ModifierNone
}

// keyNamed finds a key by a character, by its key or by its code, as the UI Events
// specification names them.
func keyNamed(name string) (kb.Key, bool) {
	if r, size := utf8.DecodeRuneInString(name); size == len(name) && size > 0 {
		if k, ok := kb.Keys[r]; ok {
			return *k, true
		}
		if r == utf8.RuneError || r < ' ' {
			return kb.Key{}, false
		}
		return kb.Key{Key: name, Text: name, Unmodified: name, Print: true}, true
	}
	k, ok := keysByName()[name]
	return k, ok
}

// keysByName has the keys whose names are longer than a character.
var keysByName = sync.OnceValue(func() map[string]kb.Key {
	runes := make([]rune, 0, len(kb.Keys))
	for r := range kb.Keys {
		runes = append(runes, r)
	}
	slices.Sort(runes)
	named := make(map[string]kb.Key)
	add := func(name string, k *kb.Key) {
		if _, known := named[name]; !known && len(name) > 1 {
			named[name] = *k
		}
	}
	for _, r := range runes {
		add(kb.Keys[r].Key, kb.Keys[r])
	}
	for _, shifted := range []bool{false, true} {
		for _, r := range runes {
			if kb.Keys[r].Shift == shifted {
				add(kb.Keys[r].Code, kb.Keys[r])
			}
		}
	}
	for left, right := range map[string]string{
		"ShiftLeft": "ShiftRight", "ControlLeft": "ControlRight", "AltLeft": "AltRight", "MetaLeft": "MetaRight",
	} {
		k := named[left]
		k.Code = right
		named[right] = k
	}
	return named
})
