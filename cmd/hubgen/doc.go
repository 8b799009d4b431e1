// Hubgen writes TypeScript declarations for a hub, so that a front end's calls are checked by its compiler too: a
// method that was renamed in Go, an argument too many or a field that is gone is an error where the call stands.
//
//	hubgen -hub ChatHub -client ChatClient -o chat.ts ./cmd/node
//
// The file has an interface with the hub's methods, one with the client methods that the hub calls, every type that they
// lead to, and a function that gives these types to a connection of the official client, @microsoft/signalr:
//
//	const chat = chatHub(connection);
//	await chat.SendMessage("ada", "hello");
//	chat.on("ReceiveMessage", (user, message) => show(user, message));
//
// The package is that in the current folder if none is named, so that a comment beside the hub is all that go generate
// needs; "go get -tool github.com/hubfleet/hubfleet/cmd/hubgen" makes the command known to a module:
//
//	//go:generate go tool hubgen -hub ChatHub -client ChatClient -o ../web/chat.ts
//
// Hub methods are what pkg/hub takes for such, and what it refuses when the hub is mapped is refused here in the same words. The
// client is the struct that hub.Typed takes. docs/typescript.md says how Go types look in TypeScript.
//
// The flags are:
//
//	-hub type
//		the hub's type, which may be an instance of a generic one: 'Hub[string]'
//	-client type
//		the struct of the clients' methods; without it there is nothing about them
//	-protocol json|messagepack
//		the hub protocol of the connections, json by default: with messagepack, bytes are Uint8Array and times Date
//	-o file
//		the file to write, which is left alone if it is right as it is; standard output by default
//
// The exit status is 2 if the command line is wrong, and 1 if the package does not compile, has no such type, or has a
// hub that cannot be mapped.
package main
