package backplane

import (
	"testing"

	"go.uber.org/goleak"
)

// After failed attempts go-redis looks from time to time whether a server is back, and ends that a second after its pool was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
