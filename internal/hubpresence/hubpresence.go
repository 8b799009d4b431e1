// Package hubpresence makes a tracker of pkg/presence what hubs need.
package hubpresence

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// New returns t as a hub.Tracker.
func New(t presence.Tracker) hub.Tracker { return tracker{t} }

type tracker struct{ presence presence.Tracker }

func (t tracker) Add(c hub.Present) {
	t.presence.Add(presence.Connection{
		ID: c.ID, User: c.User, Hub: c.Hub, Transport: c.Transport, Node: c.Node, Since: c.Since, Metadata: c.Metadata,
	})
}

func (t tracker) Remove(id string) { t.presence.Remove(id) }

// Settle waits for a tracker whose Add others see later only.
func (t tracker) Settle(ctx context.Context, id string) error {
	if s, ok := t.presence.(interface {
		Settle(ctx context.Context, id string) error
	}); ok {
		return translate(s.Settle(ctx, id))
	}
	return nil
}

func (t tracker) SetMetadata(id string, metadata []byte) error {
	return translate(t.presence.SetMetadata(id, metadata))
}

func (t tracker) Online(ctx context.Context, users ...string) ([]bool, error) {
	online, err := t.presence.Online(ctx, users...)
	return online, translate(err)
}

func (t tracker) Users(ctx context.Context, after string, limit int) ([]string, error) {
	users, err := t.presence.Users(ctx, after, limit)
	return users, translate(err)
}

func (t tracker) Connections(ctx context.Context, user string) ([]hub.Present, error) {
	connections, err := t.presence.Connections(ctx, user)
	if err != nil {
		return nil, translate(err)
	}
	list := make([]hub.Present, len(connections))
	for i, c := range connections {
		list[i] = hub.Present{
			ID: c.ID, User: c.User, Hub: c.Hub, Transport: c.Transport, Node: c.Node, Since: c.Since, Metadata: c.Metadata,
		}
	}
	return list, nil
}

func (t tracker) Watch(ctx context.Context) ([]string, iter.Seq[[]hub.PresenceChange], error) {
	online, updates, err := t.presence.Watch(ctx)
	if err != nil {
		return nil, nil, translate(err)
	}
	return online, func(yield func([]hub.PresenceChange) bool) {
		for u := range updates {
			changes := make([]hub.PresenceChange, len(u.Changes))
			for i, c := range u.Changes {
				changes[i] = hub.PresenceChange(c)
			}
			if !yield(changes) {
				return
			}
		}
	}, nil
}

// translate adds the hub's word for an error to it.
func translate(err error) error {
	switch {
	case errors.Is(err, presence.ErrUnavailable):
		return fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
	case errors.Is(err, presence.ErrNoConnection):
		return fmt.Errorf("%w: %w", hub.ErrNoConnection, err)
	}
	return err
}
