package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxPages    = 10_000 // jobs of browser
	maxParallel = 14     // of them at a time: with more, a lone client is kept from more than one context
	playwright  = "playwright"
)

// shop is the site on which jobs work: a form, and where it leads.
func shop(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if r.URL.Path != "/found" {
		_, _ = io.WriteString(w, `<!doctype html><title>Shop</title><h1>Tea</h1><form action=/found><input id=name name=name>
		<select id=tea name=tea><option>black<option>green</select><input id=agree name=agree type=checkbox><button id=go>Go</button></form>`)
		return
	}
	said := "refused"
	if r.FormValue("agree") != "" {
		said = "agreed"
	}
	_, _ = fmt.Fprintf(w, `<!doctype html><title>Found</title><ul><li class=row>%s<li class=row>%s<li class=row>%s</ul>
		<button id=more onclick="document.body.append('more')">More</button>`, html.EscapeString(r.FormValue("name")), html.EscapeString(r.FormValue("tea")), said)
}

// tenSteps is what a job does on the site; peers/playwright.mjs does the same.
func tenSteps(site string) []string {
	return []string{
		`{"type":"setViewport","width":1280,"height":720}`,
		`{"type":"navigate","url":"` + site + `"}`,
		`{"type":"change","selector":"#name","value":"Ada"}`,
		`{"type":"select","selector":"#tea","value":"green"}`,
		`{"type":"check","selector":"#agree"}`,
		`{"type":"click","selector":"#go"}`,
		`{"type":"waitForElement","selector":".row","count":3}`,
		`{"type":"extract","name":"rows","selector":".row","all":true}`,
		`{"type":"click","selector":"#more"}`,
		`{"type":"screenshot","name":"page"}`,
	}
}

// runBrowser measures jobs in a browser: on jobcast, and with -targets playwright on that.
func runBrowser(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "browser", Title: fmt.Sprintf("%d jobs of ten steps, each in a fresh browser context, %d at a time", set.pages, set.parallel)}
	program, err := headlessShell()
	if err != nil {
		return out, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return out, fmt.Errorf("listen for the site: %w", err)
	}
	site := &http.Server{Handler: http.HandlerFunc(shop), ReadHeaderTimeout: requestTime}
	var serving sync.WaitGroup
	serving.Go(func() { _ = site.Serve(ln) }) // it says that it was closed
	defer serving.Wait()
	defer func() { _ = site.Close() }()
	url := "http://" + ln.Addr().String() + "/"
	out.Notes = []string{"jobcast: Chromium in its jail and its own sandbox, behind a proxy that decides on each address; submits over HTTP, events and pictures on disk before they are told"}
	r, err := jobcastPages(ctx, set, program, url)
	out.Rows = append(out.Rows, r)
	if err != nil || !set.playwright {
		return out, err
	}
	out.Notes = append(out.Notes, "playwright: the library in one process of Node, the same Chromium, without a sandbox (its default)")
	r, err = playwrightPages(ctx, set, program, url)
	out.Rows = append(out.Rows, r)
	return out, err
}

// withoutPlaywright takes the peer of browser out of a list of targets.
func withoutPlaywright(list string) (others string, there bool) {
	all := strings.Split(list, ",")
	rest := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == playwright })
	return strings.Join(rest, ","), len(rest) < len(all)
}

// headlessShell is the Chromium that all use.
func headlessShell() (string, error) {
	for _, path := range []string{"/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/headless_shell"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no headless Chromium: %w; Debian's package chromium-headless-shell has it", os.ErrNotExist)
}

// pagesTook is what jobs in a browser took.
type pagesTook struct {
	Ended                int
	TookMs, P50Ms, P99Ms float64

	cpu        time.Duration // of the server, the browser, and all that they started
	held, idle int64         // bytes, with contexts open and with none
}

func (p *pagesTook) row(name string, parallel int) row {
	r := row{Case: name, Target: name}
	r.add("jobs", "1/s", perSecond(float64(p.Ended), time.Duration(p.TookMs*float64(time.Millisecond))))
	r.add("job p50", "ms", p.P50Ms)
	r.add("job p99", "ms", p.P99Ms)
	r.add("CPU per job", "ms", millis(p.cpu)/float64(max(p.Ended, 1)))
	r.add("memory per context", "MB", float64(p.held-p.idle)/1e6/float64(parallel))
	r.add("memory with none", "MB", float64(p.idle)/1e6)
	return r
}

// playwrightPages measures Playwright, which does all of it itself when it is told to.
func playwrightPages(ctx context.Context, set *settings, program, site string) (r row, err error) {
	root, err := moduleRoot()
	if err != nil {
		return r, err
	}
	p, err := startProcess("node", filepath.Join(root, "bench", "peers", "playwright.mjs"), "--browser", program, "--site", site,
		"--jobs", strconv.Itoa(set.pages), "--parallel", strconv.Itoa(set.parallel))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if line, err := p.line(ctx); err != nil || line != "ready" {
		return r, fmt.Errorf("the peer said %.200q: %w", line, err)
	}
	var took pagesTook
	order := func(what string) error {
		if _, err := p.stdin.Write([]byte(what + "\n")); err != nil {
			return fmt.Errorf("tell the peer to %s: %w", what, err)
		}
		line, err := p.lineWithin(ctx, maxSpan+catchUpTime)
		if err == nil {
			err = json.Unmarshal([]byte(line), &took)
		}
		return err
	}
	before, err1 := cpuOf(p)
	err2 := order("run")
	after, err3 := cpuOf(p)
	if err := errors.Join(err1, err2, err3); err != nil {
		return r, err
	}
	took.cpu = after - before
	if err := order("hold"); err != nil {
		return r, err
	}
	if took.held, err = restingMemory(ctx, set, p); err != nil {
		return r, err
	}
	if err := order("release"); err != nil {
		return r, err
	}
	took.idle, err = restingMemory(ctx, set, p)
	return took.row(playwright, set.parallel), err
}

// restingMemory returns the memory of a process and of all that it started, after a rest.
func restingMemory(ctx context.Context, set *settings, p *process) (int64, error) {
	sleepUntil(ctx, time.Now().Add(set.rest))
	return treeMemory(p.cmd.Process.Pid)
}
