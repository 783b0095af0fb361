package transporttest

// surviving: a cursor outlives the process it was given by.
func surviving() []scenario {
	return []scenario{
		{name: "restart", run: restart},
		{name: "crash", run: crash},
		{name: "restored copy", run: restored},
	}
}

func restart(s *stage) {
	survive(s, func() {
		if err := s.Stop(); err != nil {
			s.Errorf("stop: %v", err)
		}
		s.Start()
	})
}

func crash(s *stage) {
	survive(s, func() {
		s.Crash()
		s.Start()
	})
}

// survive reads on with old cursors through three ends of the server.
func survive(s *stage, again func()) {
	w := s.log.Begin(s)
	rooms := []Opening{{Job: w.Job}, {From: "start"}}
	got := make([][]Item, len(rooms))
	for range 3 {
		w.Emit(s, 6, 3)
		for i, o := range rooms {
			r := s.open(o)
			got[i] = append(got[i], s.events(r, 4)...) // some are left
			rooms[i].Cursor, rooms[i].From = r.Cursor(), ""
		}
		again()
	}
	w.Emit(s, 3, 3)
	for i, o := range rooms {
		want := s.log.Entries(o.Job)
		r := s.open(o)
		got[i] = append(got[i], s.events(r, len(want)-len(got[i]))...)
		Same(s, got[i], want)
	}
}

// restored: an older copy of the folder is put back. What was committed after
// it is lost, and no cursor from there may skip what is written in its place.
func restored(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 6, 3)
	kept, early := s.log.Head(), s.log.Entries("")[3].ID
	s.stopped((Server).Keep)
	w.Emit(s, 6, 3)
	lost := s.log.Head()
	s.stopped((Server).Restore)
	s.log.Forget(s, kept)
	for _, job := range []string{w.Job, ""} {
		badCursor(s, w, Opening{Job: job, Cursor: lost}, "epoch")
	}
	w.Emit(s, 20, 5) // past where the lost cursor was
	for _, job := range []string{w.Job, ""} {
		badCursor(s, w, Opening{Job: job, Cursor: lost}, "epoch")
		startsAfter(s, "a cursor from before the copy", Opening{Job: job, Cursor: early}, early)
		startsAfter(s, "the newest cursor of the copy", Opening{Job: job, Cursor: kept}, kept)
	}
}

// stopped does something while no process runs.
func (s *stage) stopped(do func(Server)) {
	s.Helper()
	if err := s.Stop(); err != nil {
		s.Errorf("stop: %v", err)
	}
	do(s.Server)
	s.Start()
}
