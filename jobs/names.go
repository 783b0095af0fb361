package jobs

import "bytes"

// names is a set of member names, which must not change. Most objects are small, so
// the first few are compared one by one, without a map.
type names struct {
	few  [8][]byte
	n    int
	many map[string]struct{}
}

// add reports whether name is new.
func (s *names) add(name []byte) bool {
	for _, have := range s.few[:s.n] {
		if bytes.Equal(have, name) {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if _, ok := s.many[string(name)]; ok {
		return false
	}
	if s.many == nil {
		s.many = make(map[string]struct{})
	}
	s.many[string(name)] = struct{}{}
	return true
}
