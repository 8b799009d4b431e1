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
