package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrOtherSecret is wrapped by what Disagreement returns.
var ErrOtherSecret = errors.New("cluster: other nodes have another secret")

// agreement finds out whether all nodes have the same secret. Redis holds the mark of one of them, which those who have that secret
// prolong; whoever finds the mark of another one, for longer than a mark lasts that nobody prolongs, does not agree.
type agreement struct {
	mu     sync.Mutex
	ours   bool      // the last mark was that of our secret
	others time.Time // since when it is another one; zero when it is not
	told   bool
}

// mark stands for a secret, and tells nothing of it.
func mark(secret []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("hubfleet secret mark"))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// ask puts the question into a pipeline. It returns what to call once that has been answered, with how long a mark lasts.
func (a *agreement) ask(ctx context.Context, pipe redis.Pipeliner, key, mark string, life time.Duration) (answered func(now time.Time)) {
	a.mu.Lock()
	ours := a.ours
	a.mu.Unlock()
	if ours {
		pipe.PExpire(ctx, key, life) // if it is another's by now, that one lives a little longer: no harm
	}
	pipe.SetNX(ctx, key, mark, life)
	found := pipe.Get(ctx, key)
	return func(now time.Time) {
		text, err := found.Result()
		if err != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		switch a.ours = text == mark; {
		case a.ours:
			a.others = time.Time{}
		case a.others.IsZero():
			a.others = now
		}
	}
}

// broken says since when others have had another secret, as far as is certain.
func (a *agreement) broken(life time.Duration) (since time.Time, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.others, !a.others.IsZero() && time.Since(a.others) > life
}

// tell returns true once whenever it has changed whether nodes disagree.
func (a *agreement) tell(broken bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed := broken != a.told
	a.told = broken
	return changed
}

// Disagreement says that other nodes of the cluster have another secret than this one, since when, and what to do about it; the
// error, which wraps ErrOtherSecret, is nil when all agree. Clients then get 404 from nodes of the other secret. It is noticed some
// seconds after the start, by the nodes with the secret that was not the first.
func (c *Redis) Disagreement() (since time.Time, err error) {
	since, broken := c.agreement.broken(c.lease.life)
	if !broken {
		return time.Time{}, nil
	}
	advice := "start all nodes with the same --cluster-secret, or all without"
	if !c.given {
		advice = "some were started with a --cluster-secret, and this one without: " + advice
	}
	return since, fmt.Errorf("%w, so that clients whose requests land on them get 404: %s", ErrOtherSecret, advice)
}

// agree logs when nodes begin to disagree, and when they cease to.
func (c *Redis) agree() {
	_, err := c.Disagreement()
	switch changed := c.agreement.tell(err != nil); {
	case !changed:
	case err != nil:
		c.log.Error("nodes of the cluster have different secrets", "error", err)
	default:
		c.log.Info("all nodes of the cluster have the same secret again")
	}
}
