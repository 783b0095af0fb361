package browser

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What Options.Path may say besides a path.
const (
	Auto = "auto"
	Off  = "off"
)

// programs returns where Chromium is looked for, the best first: the headless shell starts
// in a third of the time and takes half the memory. The programs in /usr/bin are scripts.
func programs() []string {
	return []string{
		"/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/headless_shell",
		"/usr/lib/chromium/chromium", "/opt/google/chrome/chrome",
	}
}

// errMissing is what a job without a browser is refused with.
var (
	errOff        = errors.New("this server runs no browser (--browser=off)")
	errNoProgram  = errors.New("this server has no Chromium: on Debian, install chromium-headless-shell (or chromium)")
	errNoBwrap    = errors.New("this server has no jail for a browser: on Debian, install bubblewrap")
	errNothing    = errors.New("this server has no Chromium and no jail for it: on Debian, install chromium-headless-shell and bubblewrap")
	errNotProgram = errors.New("is no program that can be run")
)

// find returns the program of the browser and, unless there is to be no jail, that of
// bubblewrap.
func find(o Options) (program, bwrap string, err error) {
	if o.Path == Off || o.Path == "" {
		return "", "", errOff
	}
	if !o.NoJail {
		bwrap, _ = exec.LookPath("bwrap")
	}
	missing := !o.NoJail && bwrap == ""
	if o.Path != Auto {
		if err := CheckProgram(o.Path); err != nil {
			return "", "", fmt.Errorf("this server has no browser: %s %w", filepath.Base(o.Path), err)
		}
		program = o.Path
	}
	for _, path := range programs() {
		if program == "" && CheckProgram(path) == nil {
			program = path
		}
	}
	switch {
	case program == "" && missing:
		return "", "", errNothing
	case program == "":
		return "", "", errNoProgram
	case missing:
		return "", "", errNoBwrap
	}
	program, err = filepath.EvalSymlinks(program) // the jail has the file, not the links to it
	return program, bwrap, err
}

// CheckProgram returns an error that follows the name of path if that is no program. A
// script is none: it would need a shell in the jail, and adds flags that nobody has looked at.
func CheckProgram(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return errors.New("cannot be opened")
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return errNotProgram
	}
	var head [4]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return errNotProgram
	}
	switch {
	case strings.HasPrefix(string(head[:]), "#!"):
		return errors.New("is a script: name the program that it starts, as in /usr/lib/chromium/chromium")
	case !bytes.Equal(head[:], []byte("\x7fELF")):
		return errNotProgram
	}
	return nil
}
