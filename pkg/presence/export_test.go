package presence

import "time"

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

// Believed are the epochs of all partitions; empty where this tracker does not believe what Redis says.
func Believed(r *Redis) (epochs [partitions]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.trusts {
		if t := &r.trusts[k]; t.known && t.ok {
			epochs[k] = t.epoch
		}
	}
	return epochs
}

// Pause is how long this tracker would wait now until it looks again.
func Pause(r *Redis) time.Duration { return r.pause() }
