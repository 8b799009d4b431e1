package main

// verdict is what the numbers of messages say about a server, summed over connections.
type verdict struct {
	Lost       int64 `json:"lost"`
	Doubled    int64 `json:"doubled"`
	OutOfOrder int64 `json:"outOfOrder"`
	Misrouted  int64 `json:"misrouted"` // reached a connection that they were not for
	Damaged    int64 `json:"damaged"`   // not as they were sent
}

func (v *verdict) add(o verdict) {
	v.Lost += o.Lost
	v.Doubled += o.Doubled
	v.OutOfOrder += o.OutOfOrder
	v.Misrouted += o.Misrouted
	v.Damaged += o.Damaged
}

// sequence is what one connection has received of one sender.
type sequence struct {
	next    uint64              // the number expected
	missing map[uint64]struct{} // numbers below next that have not come; nil when none
}

// maxMissing bounds what is remembered of messages that have not come. Behind that, one that comes late counts as doubled.
const maxMissing = 10_000

// arrived notes a message and says whether it is the first with its number.
func (s *sequence) arrived(number uint64, v *verdict) bool {
	switch {
	case number == s.next:
		s.next++
	case number > s.next:
		v.Lost += int64(number - s.next)
		for n := s.next; n < number && len(s.missing) < maxMissing; n++ {
			if s.missing == nil {
				s.missing = make(map[uint64]struct{})
			}
			s.missing[n] = struct{}{}
		}
		s.next = number + 1
	default:
		if _, late := s.missing[number]; !late {
			v.Doubled++
			return false
		}
		delete(s.missing, number)
		v.Lost--
		v.OutOfOrder++
	}
	return true
}

// finish counts what was sent last and has not come.
func (s *sequence) finish(sent uint64, v *verdict) {
	if sent > s.next {
		v.Lost += int64(sent - s.next)
	}
}
