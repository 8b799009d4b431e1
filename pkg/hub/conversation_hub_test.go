package hub_test

import (
	"errors"
	"iter"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// talk is the hub of the conversations.
type talk struct {
	play          *play
	refuses, asks bool
}

func (h *talk) OnConnected(c *hub.Call) error {
	switch {
	case h.refuses:
		return errors.New("the database is away")
	case h.asks:
		var name string
		return c.Clients().Caller().Invoke(c, &name, "Name")
	}
	return nil
}

func (h *talk) OnDisconnected(c *hub.Call, reason error) {
	if reason == nil {
		h.play.learns("OnDisconnected")
		return
	}
	h.play.learns("OnDisconnected: %v", reason)
}

func (*talk) Add(c *hub.Call, a, b int) int              { return a + b }
func (*talk) Half(c *hub.Call, x float64) float64        { return x / 2 }
func (*talk) Echo(c *hub.Call, value hub.Raw) hub.Raw    { return value }
func (*talk) Nothing(c *hub.Call)                        {}
func (*talk) Bytes(c *hub.Call, b []byte) int            { return len(b) }
func (*talk) NextDay(c *hub.Call, t time.Time) time.Time { return t.AddDate(0, 0, 1) }
func (*talk) Birthday(c *hub.Call, p person) person      { p.Age++; return p }
func (*talk) Refuse(c *hub.Call, text string) error      { return hub.Errorf("%s", text) }
func (*talk) Secret(c *hub.Call) error                   { return errors.New("the password is 1234") }
func (*talk) Panic(c *hub.Call)                          { panic("boom") }
func (*talk) Unencodable(c *hub.Call) any                { return func() {} }
func (*talk) Admin(c *hub.Call)                          {}
func (*talk) Abort(c *hub.Call)                          { c.Connection().Abort() }
func (*talk) Transport(c *hub.Call) string               { return c.Connection().Transport() }
func (*talk) User(c *hub.Call) string                    { return c.UserID() }
func (*talk) Sleep(c *hub.Call, ms int) int {
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return ms
}
func (*talk) ToCaller(c *hub.Call, text string) error {
	return c.Clients().Caller().Send(c, "Said", text)
}
func (*talk) ToAll(c *hub.Call, text string) error { return c.Clients().All().Send(c, "Said", text) }
func (*talk) ToOthers(c *hub.Call, text string) error {
	return c.Clients().Others().Send(c, "Said", text)
}
func (*talk) Join(c *hub.Call, group string) error { return c.Groups().Add(c, c.ConnectionID(), group) }
func (*talk) Leave(c *hub.Call, group string) error {
	return c.Groups().Remove(c, c.ConnectionID(), group)
}
func (*talk) ToGroup(c *hub.Call, group, text string) error {
	return c.Clients().Group(group).Send(c, "Said", text)
}

// Ask asks another client.
func (*talk) Ask(c *hub.Call, id string) (answer string, err error) {
	err = c.Clients().Client(id).Invoke(c, &answer, "Name")
	return answer, err
}

// AskMe asks the caller.
func (*talk) AskMe(c *hub.Call) (answer int, err error) {
	err = c.Clients().Caller().Invoke(c, &answer, "Age")
	return answer, err
}

// Count streams the numbers below n.
func (*talk) Count(c *hub.Call, n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

// Break streams one number and then fails.
func (*talk) Break(c *hub.Call, why string) (iter.Seq2[int, error], error) {
	if why == "at once" {
		return nil, hub.Errorf("%s", why)
	}
	return func(yield func(int, error) bool) {
		if !yield(0, nil) {
			return
		}
		if why == "secret" {
			yield(0, errors.New("the password is 1234"))
			return
		}
		yield(0, hub.Errorf("%s", why))
	}, nil
}

// Quiet streams nothing until it is cancelled.
func (*talk) Quiet(c *hub.Call) <-chan int { return make(chan int) }

func (*talk) NoStream(c *hub.Call) <-chan int { return nil }

// Sum adds up what is uploaded.
func (*talk) Sum(c *hub.Call, numbers <-chan int) (sum int, err error) {
	for n := range numbers {
		sum += n
	}
	if err := c.StreamErr(numbers); err != nil {
		return 0, hub.Errorf("after %d: %v", sum, err)
	}
	return sum, nil
}

// Pairs joins two uploads.
func (*talk) Pairs(c *hub.Call, sep string, a, b <-chan string) (pairs []string) {
	for x := range a {
		pairs = append(pairs, x+sep+<-b)
	}
	return pairs
}

// Double streams back twice what is uploaded.
func (*talk) Double(c *hub.Call, numbers <-chan int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := range numbers {
			if !yield(2 * n) {
				return
			}
		}
	}
}

// Wait tells the program how its upload ended.
func (h *talk) Wait(c *hub.Call, numbers <-chan int) {
	for range numbers {
	}
	h.play.learns("the upload ended: %v", c.StreamErr(numbers))
}

// First takes one item of its upload.
func (*talk) First(c *hub.Call, numbers <-chan int) int { return <-numbers }
