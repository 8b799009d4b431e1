package client

// signal wakes those that wait for something to change. Its owner's mutex guards it.
type signal struct{ ch chan struct{} }

// wait returns what is closed at the next change.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// notify says that something has changed.
func (s *signal) notify() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
