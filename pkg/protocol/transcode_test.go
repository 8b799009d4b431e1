package protocol

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestMessagePackToJSON(t *testing.T) {
	tests := []struct{ pack, json string }{
		{"c0", "null"}, {"c2", "false"}, {"c3", "true"},
		{"00", "0"}, {"7f", "127"}, {"ff", "-1"}, {"e0", "-32"}, {"d080", "-128"}, {"cc80", "128"}, {"d10100", "256"},
		{"cf7fffffffffffffff", "9223372036854775807"}, {"cfffffffffffffffff", "18446744073709551615"},
		{"d38000000000000000", "-9223372036854775808"}, {"cf0020000000000001", "9007199254740993"},
		{"cb4045000000000000", "42"}, {"ca3dcccccd", "0.1"}, {"cb3fb999999999999a", "0.1"}, {"cb8000000000000000", "-0"},
		{"a0", `""`}, {"a53c26223e0a", `"<&\">\n"`}, {"a2ff61", "\"\uFFFDa\""}, {"d903c3a92f", `"é/"`},
		{"c403010203", `"AQID"`}, {"c400", `""`},
		{"d6ff58ec1c80", `"2017-04-11T00:00:00Z"`}, {"d7ff00000004ffffffff", `"2106-02-07T06:28:15.000000001Z"`},
		{"c70cff000000000000000000000000", `"1970-01-01T00:00:00Z"`}, {"c70cff3b9ac9fffffffff1886e0900", `"0001-01-01T00:00:00.999999999Z"`},
		{"90", "[]"}, {"9301a0c0", `[1,"",null]`}, {"dc00019190", "[[[]]]"},
		{"80", "{}"}, {"82a161819001a16290", ""}, {"82a161810190a16290", `{"a":{"1":[]},"b":[]}`},
		{"8801c0ffc0c3c0cb3ff8000000000000c0c40178c0d6ff00000000c0cfffffffffffffffffc0a0c0",
			`{"1":null,"-1":null,"true":null,"1.5":null,"eA==":null,"1970-01-01T00:00:00Z":null,"18446744073709551615":null,"":null}`},
		// What has no form in JSON, and what is no MessagePack.
		{"ca7f800000", ""}, {"cb7ff8000000000000", ""}, {"81ca7f800000c0", ""}, {"81c0c0", ""}, {"8180c0", ""},
		{"d40100", ""}, {"d40500", ""}, {"d5ff0000", ""}, {"c70cff3b9aca00000000000000000000", ""}, {"d7ffffffffff00000000", ""},
		{"c70cff000000000000003afff44180", ""}, {"c70cff000000007fffffffffffffff", ""}, {"c70cff000000008000000000000000", ""},
		{"", ""}, {"c1", ""}, {"9101c0", ""}, {"92c0", ""}, {"a2", ""}, {"ddffffffff", ""}, {"dfffffffff", ""},
	}
	for _, tt := range tests {
		raw := Raw{Codec: "messagepack", Data: unhex(t, tt.pack)}
		got, err := appendJSONFromPack([]byte("before"), raw.Data, 0)
		if tt.json == "" {
			if err == nil {
				t.Errorf("%s has become %s", tt.pack, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.pack, err)
		}
		diff(t, tt.pack, "before"+tt.json, string(got))
	}
}

func TestJSONToMessagePack(t *testing.T) {
	tests := []struct{ json, pack string }{
		{"null", "c0"}, {" true ", "c3"}, {"false", "c2"}, {"", "c0"},
		{"0", "00"}, {"127", "7f"}, {"128", "cc80"}, {"255", "ccff"}, {"256", "cd0100"}, {"65536", "ce00010000"},
		{"-1", "ff"}, {"-32", "e0"}, {"-33", "d0df"}, {"-129", "d1ff7f"}, {"-32769", "d2ffff7fff"},
		{"9007199254740993", "cf0020000000000001"}, {"18446744073709551615", "cfffffffffffffffff"},
		{"-9223372036854775808", "d38000000000000000"}, {"18446744073709551616", "cb43f0000000000000"},
		{"-9223372036854775809", "cbc3e0000000000000"},
		{"-0", "cb8000000000000000"}, {"2.0", "cb4000000000000000"}, {"1e3", "cb408f400000000000"}, {"0.1", "cb3fb999999999999a"},
		{`""`, "a0"}, {`"\u00e9\n<"`, "a4c3a90a3c"}, {`"é"`, "a2c3a9"}, {`"\ud83d"`, "a3efbfbd"},
		{`"` + strings.Repeat("x", 32) + `"`, "d920" + strings.Repeat("78", 32)},
		{`[]`, "90"}, {`[ 1 , "a" , [ ] ]`, "9301a16190"}, {`{}`, "80"}, {`{ "b" : 1 , "\u0061" : { "c" : [ null ] } }`, "82a16201a16181a16391c0"},
		{`[` + strings.Repeat("0,", 15) + `0]`, "dc0010" + strings.Repeat("00", 16)},
		{`[` + strings.Repeat("[],", 65535) + `0]`, "dd00010000" + strings.Repeat("90", 65535) + "00"},
		{`{` + strings.Repeat(`"":0,`, 15) + `"":1}`, "de0010" + strings.Repeat("a000", 15) + "a001"},
		{"1e400", "!"}, {"[1", "!"}, {"1 2", "!"}, {"[1,]", "!"}, {"\"\xff\"", "!"}, {"{1:2}", "!"}, {`{"a":1,}`, "!"},
	}
	for _, tt := range tests {
		got, err := appendPackFromJSON([]byte("before"), []byte(tt.json), 0)
		if tt.pack == "!" {
			if err == nil {
				t.Errorf("%s has become %x", tt.json, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.json, err)
		}
		diff(t, tt.json, tt.pack, hex.EncodeToString(got[len("before"):]))
	}
}

// TestTranscodeDepth holds that both codecs carry a value just as deep, and no deeper.
func TestTranscodeDepth(t *testing.T) {
	for levels, ok := range map[int]bool{maxDepth - 2: true, maxDepth - 1: false} {
		inJSON := Raw{Data: []byte(strings.Repeat("[", levels) + strings.Repeat("]", levels))}
		inPack := Raw{Codec: "messagepack", Data: []byte(strings.Repeat("\x91", levels-1) + "\x90")}
		for _, codec := range []Codec{JSON, MessagePack} {
			for _, raw := range []Raw{inJSON, inPack} {
				if b, err := codec.AppendValue(nil, raw); (err == nil) != ok || err != nil && len(b) > 0 {
					t.Errorf("%d levels of %q in %s: %v", levels, raw.Codec, codec.Name(), err)
				}
			}
		}
	}
}
