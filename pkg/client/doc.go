// Package client talks to SignalR servers: those of this module, and any other that speaks the hub protocol, such as
// ASP.NET Core's.
//
//	c, err := client.New("https://example.com/chat", client.Options{Reconnect: client.DefaultReconnect})
//	if err != nil {
//		return err // a setting is wrong; nothing has been started
//	}
//	c.On("ReceiveMessage", func(user, text string) { fmt.Println(user+":", text) })
//	if err := c.Start(ctx); err != nil {
//		return err
//	}
//	defer c.Stop(context.Background())
//	err = c.Send(ctx, "SendMessage", "ada", "hello")
//
// Invoke waits for a method's result, Send does not; Stream ranges over what a method streams. An argument that is a
// receive channel, an iter.Seq or an iter.Seq2 with an error is sent as a stream. Handlers that return something answer
// a server that asks its client.
//
// # Goroutines
//
// New starts nothing. Start begins what Stop, or the end of the connection, ends; Done is closed when all of it has.
// One goroutine reads. Another runs handlers and hooks, one at a time and in the order in which their causes came, so
// that a handler may invoke methods and wait for them. (A handler that the server waits for has one of its own, so that
// nothing waits for the answer, as with the official clients.) While it waits, further messages queue for it, up to
// Options.ReceiveBuffer bytes; then reading stops, which makes the server wait. See Options.ReceiveBuffer for what happens
// if that goes on.
package client
