package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// reconnect decides what follows the end of a connection, and does it: it returns the next connection, or none and why
// the client is closed.
func (c *Client) reconnect(reason error) (*connection, error) {
	if !c.lose(reason) {
		return nil, reason
	}
	c.o.Logger.Warn("connection lost, reconnecting", "error", reason)
	if hook := c.o.Hooks.Reconnecting; hook != nil {
		lost := reason // which changes with each attempt
		c.tasks.push(func() { hook(lost) })
	}
	start := time.Now()
	for attempt := 0; ; attempt++ {
		delay, ok := c.o.Reconnect(Retry{Attempt: attempt, Elapsed: time.Since(start), Reason: reason})
		if !ok {
			return nil, fmt.Errorf("client: gave up after %d attempts to reconnect: %w", attempt, reason)
		}
		if err := sleep(c.life, delay); err != nil {
			return nil, err
		}
		conn, err := c.connect(c.life)
		if err == nil {
			if c.regain(conn) {
				return conn, nil
			}
			err = errStopped
		}
		if c.life.Err() != nil {
			return nil, err
		}
		reason = err
		c.o.Logger.Warn("reconnecting failed", "attempt", attempt+1, "error", reason)
	}
}

// lose takes note that there is no connection any more, and says whether there shall be another.
func (c *Client) lose(reason error) bool {
	var farewell *closeError
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	if c.stopping || c.o.Reconnect == nil || errors.As(reason, &farewell) && !farewell.reconnect {
		return false
	}
	c.state = Reconnecting
	return true
}

// regain takes note of the new connection, unless the client is being stopped.
func (c *Client) regain(conn *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		conn.abandon(errStopped)
		return false
	}
	c.state, c.conn = Connected, conn
	c.o.Logger.Info("reconnected", "connection", conn.route.id)
	if hook := c.o.Hooks.Reconnected; hook != nil {
		id := conn.route.id
		c.tasks.push(func() { hook(id) })
	}
	return true
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
