package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// timestampType is the extension type of timestamps.
const timestampType = -1

// The Unix times between which years have four digits, which is what JSON and .NET have room for.
const (
	minTimestamp = -62_167_219_200 // 0000-01-01T00:00:00Z
	maxTimestamp = 253_402_300_799 // 9999-12-31T23:59:59Z
)

// readTimestamp reads the timestamp that b, which holds a whole value, begins with. The time is in UTC.
func readTimestamp(b []byte) (t time.Time, rest []byte, ok bool) {
	_, size, _ := packHead(b)
	data, rest := b[:size], b[size:]
	var seconds int64
	var nanoseconds uint64
	switch {
	case data[0] == 0xD6 && int8(data[1]) == timestampType:
		seconds = int64(binary.BigEndian.Uint32(data[2:]))
	case data[0] == 0xD7 && int8(data[1]) == timestampType:
		both := binary.BigEndian.Uint64(data[2:])
		seconds, nanoseconds = int64(both&(1<<34-1)), both>>34
	case data[0] == 0xC7 && data[1] == 12 && int8(data[2]) == timestampType:
		nanoseconds = uint64(binary.BigEndian.Uint32(data[3:]))
		seconds = int64(binary.BigEndian.Uint64(data[7:]))
	default:
		return time.Time{}, b, false
	}
	if nanoseconds > 999_999_999 || seconds < minTimestamp || seconds > maxTimestamp {
		return time.Time{}, b, false
	}
	return time.Unix(seconds, int64(nanoseconds)).UTC(), rest, true
}

func writeTime(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	if v.CanAddr() {
		return appendTimestamp(dst, *v.Addr().Interface().(*time.Time))
	}
	return appendTimestamp(dst, v.Interface().(time.Time))
}

// appendTimestamp writes t in the shortest of the three forms that has room for it. (msgp.AppendTimeExt writes the
// beginning of 1970 in a longer one than .NET.)
func appendTimestamp(dst []byte, t time.Time) ([]byte, error) {
	seconds, nanoseconds := t.Unix(), uint64(t.Nanosecond())
	switch {
	case seconds < minTimestamp || seconds > maxTimestamp:
		return dst, fmt.Errorf("the time %v cannot be written: its year must be between 0 and 9999", t)
	case nanoseconds == 0 && 0 <= seconds && seconds <= math.MaxUint32:
		return appendBig(append(dst, 0xD6, 0xFF), uint64(seconds), 4), nil
	case 0 <= seconds && seconds < 1<<34:
		return appendBig(append(dst, 0xD7, 0xFF), nanoseconds<<34|uint64(seconds), 8), nil
	}
	dst = appendBig(append(dst, 0xC7, 12, 0xFF), nanoseconds, 4)
	return appendBig(dst, uint64(seconds), 8), nil
}

// appendBig writes the lowest n bytes of u, the highest of them first.
func appendBig(dst []byte, u uint64, n int) []byte {
	for n--; n >= 0; n-- {
		dst = append(dst, byte(u>>(8*n)))
	}
	return dst
}

// readTime takes a timestamp, text, and the array of two that .NET makes of a DateTimeOffset: a timestamp that says
// what the local clock showed, as if that were UTC, and the offset of that clock in minutes.
func readTime(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	var t time.Time
	rest, ok := b, false
	switch packKindOf(b) {
	case packExt:
		t, rest, ok = readTimestamp(b)
	case packStr:
		text, next, _ := msgp.ReadStringZC(b)
		rest, ok = next, t.UnmarshalText(text) == nil
	case packArray:
		t, rest, ok = readDateTimeOffset(b)
	default:
		return p.mismatch(b)
	}
	if !ok {
		return b, unfit(p.typ, "it is no timestamp of the years 0 to 9999, no text as in RFC 3339 and no DateTimeOffset")
	}
	*v.Addr().Interface().(*time.Time) = t
	return rest, nil
}

func readDateTimeOffset(b []byte) (t time.Time, rest []byte, ok bool) {
	count, rest, _ := msgp.ReadArrayHeaderBytes(b)
	if count != 2 || packKindOf(rest) != packExt {
		return t, b, false
	}
	if t, rest, ok = readTimestamp(rest); !ok {
		return t, b, false
	}
	minutes, rest, err := msgp.ReadInt16Bytes(rest)
	if err != nil || minutes <= -24*60 || minutes >= 24*60 {
		return t, b, false
	}
	if minutes == 0 {
		return t, rest, true
	}
	t = t.Add(-time.Duration(minutes) * time.Minute)
	return t.In(time.FixedZone("", int(minutes)*60)), rest, true
}
