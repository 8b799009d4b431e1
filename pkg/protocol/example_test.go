package protocol_test

import (
	"fmt"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// A server cuts messages off what has arrived, and decodes arguments only once it knows which types they should have.
func Example() {
	received := []byte("{\"arguments\":[\"Ada\",3],\"invocationId\":\"0\",\"target\":\"Repeat\",\"type\":1}\x1e")
	body, _, err := protocol.JSON.Next(received)
	if err != nil {
		fmt.Println(err)
		return
	}
	var m protocol.Message
	if err := protocol.JSON.Decode(body, &m); err != nil {
		fmt.Println(err)
		return
	}
	args, err := protocol.JSON.Elements(m.Arguments, nil)
	if err != nil || len(args) != 2 {
		fmt.Println(len(args), err)
		return
	}
	var name string
	var times int
	fmt.Println(m.Target, protocol.JSON.Unmarshal(args[0], &name), protocol.JSON.Unmarshal(args[1], &times), name, times)

	reply, err := protocol.JSON.AppendResult(nil, m.InvocationID, name)
	fmt.Printf("%q %v\n", reply, err)
	// Output:
	// Repeat <nil> <nil> Ada 3
	// "{\"type\":3,\"invocationId\":\"0\",\"result\":\"Ada\"}\x1e" <nil>
}

// A value that came in one encoding goes out in the other.
func ExampleRaw() {
	var value protocol.Raw
	if err := protocol.MessagePack.Unmarshal([]byte("\x82\xa4name\xa3Ada\xa3age\xcc\xc8"), &value); err != nil {
		fmt.Println(err)
		return
	}
	frame, err := protocol.JSON.AppendInvocation(nil, "", "Show", []any{value})
	fmt.Printf("%q %v\n", frame, err)
	// Output:
	// "{\"type\":1,\"target\":\"Show\",\"arguments\":[{\"name\":\"Ada\",\"age\":200}]}\x1e" <nil>
}

// One set of struct tags serves both encodings; peers in .NET call the same fields otherwise.
func ExampleNewMessagePack() {
	type user struct {
		Name string `json:"name"`
	}
	dotnet := protocol.NewMessagePack(protocol.MessagePackOptions{PascalCase: true})
	for _, codec := range []protocol.Codec{protocol.JSON, protocol.MessagePack, dotnet} {
		value, err := codec.AppendValue(nil, user{"Ada"})
		var back user
		fmt.Printf("%s %q %v %v %s\n", codec.Name(), value, err, codec.Unmarshal(value, &back), back.Name)
	}
	// Output:
	// json "{\"name\":\"Ada\"}" <nil> <nil> Ada
	// messagepack "\x81\xa4name\xa3Ada" <nil> <nil> Ada
	// messagepack "\x81\xa4Name\xa3Ada" <nil> <nil> Ada
}
