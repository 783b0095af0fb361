package steps

import "slices"

// elementUse says whether a step is about an element.
type elementUse int

const (
	noElement elementUse = iota
	mayHaveElement
	needsElement
)

// definition is what there is to know of a step type.
type definition struct {
	doc      string
	members  map[string]schema // its own; see stepSchema for those that all have
	required []string
	element  elementUse
	framed   bool // it has a frame, though no element
	browser  bool // it is about all pages: it has neither target nor asserted events
	slow     bool // it waits for pages, not for elements
	evaluate bool // it runs its client's script, which the server must allow

	run func(*run) error
}

// Types returns the names of all step types, sorted.
func Types() []string {
	names := make([]string, 0, len(schemas()))
	for kind := range schemas() {
		names = append(names, kind)
	}
	slices.Sort(names)
	return names
}

// vocabulary returns all step types but customStep's, which stands for one of them.
func vocabulary() map[string]definition {
	all := map[string]definition{
		"customStep": {
			doc: `A step of ours as Chrome's Recorder can import it: name is "jobcast." and its type, parameters are its members.`,
			members: map[string]schema{
				"name":       text(1, maxNameLength),
				"parameters": {"type": "object"},
			},
			required: []string{"name"}, framed: true,
		},
	}
	for _, more := range []map[string]definition{pointing(), typing(), opening(), waiting(), keeping(), setting()} {
		for kind, d := range more {
			all[kind] = d
		}
	}
	return all
}

// offsets are where in an element the pointer goes.
func offsets(more map[string]schema) map[string]schema {
	with := map[string]schema{
		"offsetX": number(-maxOffset, maxOffset).doc("CSS pixels from the element's left edge; default: its middle"),
		"offsetY": number(-maxOffset, maxOffset).doc("CSS pixels from the element's top edge; default: its middle"),
	}
	for name, s := range more {
		with[name] = s
	}
	return with
}

// pointing are the steps of the pointer.
func pointing() map[string]definition {
	button := map[string]schema{
		"button":     oneOf("primary", "auxiliary", "secondary", "back", "forward").doc("default primary"),
		"deviceType": oneOf("mouse", "pen", "touch").doc("default mouse"),
		"duration":   number(0, maxHoldMs).doc("milliseconds that the button is held"),
	}
	return map[string]definition{
		"click":       {doc: "Clicks an element.", members: offsets(button), element: needsElement, run: (*run).click},
		"doubleClick": {doc: "Clicks an element twice.", members: offsets(button), element: needsElement, run: (*run).doubleClick},
		"hover":       {doc: "Moves the pointer over an element.", members: offsets(nil), element: needsElement, run: (*run).hover},
		"check":       {doc: "Ticks a checkbox or radio button, unless it is.", element: needsElement, run: (*run).check},
		"uncheck":     {doc: "Unticks a checkbox, unless it is.", element: needsElement, run: (*run).uncheck},
		"scroll": {
			doc: "Scrolls the page, or an element, to a place.",
			members: map[string]schema{
				"x": number(0, 1e7).doc("CSS pixels; default 0"),
				"y": number(0, 1e7).doc("CSS pixels; default 0"),
			},
			element: mayHaveElement, run: (*run).scroll,
		},
	}
}

// typing are the steps of the keyboard, and those that fill in forms.
func typing() map[string]definition {
	key := text(1, maxNameLength).doc(`a key's name as in KeyboardEvent.key or .code, e.g. "Enter", "a", "KeyA"`)
	return map[string]definition{
		"change": {
			doc: "Gives a form control its value: text is typed, an option chosen by its value, a checkbox ticked by truth, any other control set.",
			members: map[string]schema{
				"value": schema{"type": []string{"string", "boolean"}, "maxLength": maxText}.orSecret(),
			},
			required: []string{"value"}, element: needsElement, run: (*run).change,
		},
		"type": {
			doc: "Types a text key by key, after what the element holds.",
			members: map[string]schema{
				"text":    text(1, 4<<10).orSecret(),
				"delayMs": integer(0, maxDelayMs).doc("between two keys; default 0"),
			},
			required: []string{"text"}, element: needsElement, run: (*run).typeText,
		},
		"press": {
			doc: "Presses a key and lets it go, in an element or where the focus is.",
			members: map[string]schema{
				"key": text(1, maxNameLength).doc(`a key's name, after modifiers if there are any: "Control+Shift+A"`),
			},
			required: []string{"key"}, element: mayHaveElement, run: (*run).press,
		},
		"keyDown": {doc: "Presses a key.", members: map[string]schema{"key": key}, required: []string{"key"}, run: (*run).keyDown},
		"keyUp":   {doc: "Lets a key go.", members: map[string]schema{"key": key}, required: []string{"key"}, run: (*run).keyUp},
		"select": {
			doc: "Chooses options of a select by their value or label, all others are not chosen.",
			members: map[string]schema{
				"value": {
					"type": []string{"string", "array"}, "maxLength": maxText,
					"maxItems": 100, "items": text(0, maxText),
				},
			},
			required: []string{"value"}, element: needsElement, run: (*run).choose,
		},
		"upload": {
			doc: "Gives a file input a file: an artifact of the job, or what a URL answers.",
			members: map[string]schema{
				"artifact": text(1, 128).doc("name of an artifact of this job"),
				"url":      matching(maxURL, webPattern),
			},
			element: needsElement, slow: true, run: (*run).upload,
		},
	}
}

// opening are the steps that open, reload and close pages.
func opening() map[string]definition {
	return map[string]definition{
		"navigate": {
			doc: "Opens a URL and waits until it has loaded.",
			members: map[string]schema{
				"url": matching(maxURL, webPattern),
				"expectStatus": schema{
					"type": []string{"integer", "array"}, "minimum": 200, "maximum": 599,
					"minItems": 1, "maxItems": 100, "items": integer(200, 599),
				}.doc("status of the answer, or a list; any if it is not given"),
			},
			required: []string{"url"}, slow: true, run: (*run).navigate,
		},
		"goBack": {doc: "Goes back in the page's history and waits until the page has loaded.", slow: true, run: (*run).goBack},
		"reload": {doc: "Loads the page again.", slow: true, run: (*run).reload},
		"close":  {doc: "Closes the page.", slow: true, run: (*run).closePage},
	}
}

// waiting are the steps that wait.
func waiting() map[string]definition {
	return map[string]definition{
		"waitForElement": {
			doc: "Waits until enough elements match.",
			members: map[string]schema{
				"operator":   oneOf(">=", "==", "<=").doc("how their number compares to count; default >="),
				"count":      integer(0, maxCount).doc("default 1"),
				"visible":    boolean().doc("count only elements that are, or are not, visible"),
				"properties": schema{"type": "object", "maxProperties": maxAttributes}.doc("count only elements with these DOM properties"),
				"attributes": membersOf(maxAttributes, text(0, maxText)).doc("count only elements with these attributes"),
			},
			element: needsElement, run: (*run).waitForElement,
		},
		"waitForUrl": {
			doc: "Waits until the page's URL matches.",
			members: map[string]schema{
				"pattern": text(1, maxURL).doc("the whole URL; * stands for any characters"),
			},
			required: []string{"pattern"}, slow: true, run: (*run).waitForURL,
		},
		"waitForNetworkIdle": {
			doc:     "Waits until the page has had no open request for a while.",
			members: map[string]schema{"idleMs": integer(1, maxIdleMs).doc("default 500")},
			slow:    true, run: (*run).waitForNetworkIdle,
		},
		"waitForExpression": {
			doc:      "Waits until a JavaScript expression is true.",
			members:  map[string]schema{"expression": text(1, maxExpression)},
			required: []string{"expression"}, framed: true, evaluate: true, run: (*run).waitForExpression,
		},
	}
}

// keeping are the steps whose outcome the job keeps.
func keeping() map[string]definition {
	fileName := matching(maxNameLength, fileNamePattern).doc("name of the artifact; the format's extension is added unless it is there")
	dataName := matching(maxNameLength, dataNamePattern).doc("member of the job's result.data")
	return map[string]definition{
		"screenshot": {
			doc: "Keeps a picture of the page, or of an element, as an artifact.",
			members: map[string]schema{
				"name":     fileName,
				"fullPage": boolean().doc("all of the page, not only what is in view"),
				"format":   oneOf("png", "jpeg", "webp").doc("default png"),
				"quality":  integer(1, 100).doc("of jpeg and webp; default 80"),
			},
			required: []string{"name"}, element: mayHaveElement, slow: true, run: (*run).screenshot,
		},
		"pdf": {
			doc: "Keeps the page, printed, as an artifact.",
			members: map[string]schema{
				"name":       fileName,
				"format":     oneOf("Letter", "Legal", "Tabloid", "A3", "A4", "A5").doc("default A4"),
				"landscape":  boolean(),
				"background": boolean().doc("with backgrounds"),
			},
			required: []string{"name"}, slow: true, run: (*run).pdf,
		},
		"extract": {
			doc: "Keeps something of an element in the job's result.",
			members: map[string]schema{
				"name":      dataName,
				"all":       boolean().doc("a list of all elements that match, instead of the first one"),
				"what":      oneOf("text", "html", "attribute", "value", "table").doc("default text; a table is a list of rows, which are lists of texts"),
				"attribute": text(1, maxNameLength).doc("name of the attribute"),
			},
			required: []string{"name"}, element: needsElement, run: (*run).extract,
		},
		"evaluate": {
			doc: "Evaluates a JavaScript expression in the page.",
			members: map[string]schema{
				"expression": text(1, maxExpression),
				"name":       dataName.doc("member of the job's result.data that holds its value"),
			},
			required: []string{"expression"}, framed: true, evaluate: true, run: (*run).evaluate,
		},
	}
}

// setting are the steps that change how pages are shown and how they speak to the network.
func setting() map[string]definition {
	cookie := closed(map[string]schema{
		"name":     text(1, 256),
		"value":    text(0, 4<<10).orSecret(),
		"url":      matching(maxURL, webPattern).doc("whose cookie it is; or domain"),
		"domain":   text(1, 256),
		"path":     text(1, maxURL),
		"secure":   boolean(),
		"httpOnly": boolean(),
		"sameSite": oneOf("Strict", "Lax", "None"),
		"expires":  number(0, 1e11).doc("seconds since 1970; default: with the job"),
	}, "name", "value")
	return map[string]definition{
		"setViewport": {
			doc: "Sets the size of the page's window.",
			members: map[string]schema{
				"width":             integer(1, maxViewport).doc("CSS pixels"),
				"height":            integer(1, maxViewport).doc("CSS pixels"),
				"deviceScaleFactor": number(0, maxScale).doc("default 1"),
				"isMobile":          boolean(),
				"hasTouch":          boolean(),
				"isLandscape":       boolean(),
			},
			required: []string{"width", "height"}, run: (*run).setViewport,
		},
		"emulateNetworkConditions": {
			doc: "Slows the page's network down.",
			members: map[string]schema{
				"download": number(-1, 1e12).doc("bytes per second; -1: as fast as it is"),
				"upload":   number(-1, 1e12).doc("bytes per second; -1: as fast as it is"),
				"latency":  number(0, maxTimeoutMs).doc("milliseconds"),
			},
			required: []string{"download", "upload", "latency"}, run: (*run).emulateNetwork,
		},
		"setCookies": {
			doc:      "Sets cookies for all pages of the job.",
			members:  map[string]schema{"cookies": list(1, maxCookies, cookie)},
			required: []string{"cookies"}, browser: true, run: (*run).setCookies,
		},
		"setHeaders": {
			doc:      "Adds headers to every request that the job's pages make from now on.",
			members:  map[string]schema{"headers": membersOf(maxHeaders, text(0, 4<<10).orSecret())},
			required: []string{"headers"}, browser: true, run: (*run).setHeaders,
		},
	}
}
