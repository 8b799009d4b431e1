package todo

import (
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

//go:generate go tool hubgen -hub Todo -client TodoClient -o ../web/todo.ts

// Todo is a shared list of things to do.
type Todo struct{}

// State says how far a task is.
type State string

const (
	Open State = "open"
	Done State = "done"
)

// Task is a thing to do.
type Task struct {
	ID    int        `json:"id"`
	Title string     `json:"title"`
	State State      `json:"state"`
	Due   *time.Time `json:"due,omitempty"` // nothing if there is no hurry
}

// Add adds a task to the list, and tells everyone.
func (Todo) Add(c *hub.Call, title string) (Task, error) {
	task := Task{ID: 1, Title: title, State: Open}
	return task, hub.Typed[TodoClient](c, c.Clients().All()).Changed(task)
}

// Search streams the tasks whose title has the text.
func (Todo) Search(c *hub.Call, text string) (<-chan Task, error) {
	return nil, hub.Errorf("there is none")
}

// Import adds many tasks, and returns how many.
func (Todo) Import(c *hub.Call, titles <-chan string) (int, error) {
	count := 0
	for range titles {
		count++
	}
	return count, nil
}

// TodoClient is what clients must be able to do.
type TodoClient struct {
	// Changed shows a task that is new or has changed.
	Changed func(task Task) error
	// Confirm asks the user.
	Confirm func(question string) (bool, error)
}
