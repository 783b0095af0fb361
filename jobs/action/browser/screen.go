package browser

import (
	"sync"

	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

// screens are the live pictures of the attempts that have a browser.
type screens struct {
	mu sync.Mutex               // guards of
	of map[string]*steps.Screen // by job
}

func (s *screens) add(job string, screen *steps.Screen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[string]*steps.Screen)
	}
	s.of[job] = screen
}

// remove removes a screen, unless a later attempt's has taken its place.
func (s *screens) remove(job string, screen *steps.Screen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[job] == screen {
		delete(s.of, job)
	}
}

// Look begins to look at the pages of a job, as steps.Screen.Look does. It returns nil if
// the job has no browser now. Whether somebody may look is for the caller to know.
func (b *Browsers) Look(job string, wake func()) *steps.Look {
	b.screens.mu.Lock()
	screen := b.screens.of[job]
	b.screens.mu.Unlock()
	if screen == nil {
		return nil
	}
	return screen.Look(wake)
}
