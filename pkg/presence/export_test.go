package presence

// Knows says whether this tracker has seen so many nodes in every partition.
func Knows(r *Redis, nodes int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.trusts {
		if len(r.trusts[k].nodes) != nodes {
			return false
		}
	}
	return true
}
