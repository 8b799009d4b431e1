package hub

import "github.com/hubfleet/hubfleet/pkg/protocol"

// Raw is a value that stays encoded: as a parameter it takes any argument as it came, and as an argument or a result it
// goes out unchanged.
type Raw = protocol.Raw
