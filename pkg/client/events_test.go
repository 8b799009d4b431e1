package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readEvents reads all events through a reader whose buffer is as small as can be.
func readEvents(r io.Reader) (out []string, err error) {
	s := eventStream{r: bufio.NewReaderSize(r, 16)}
	for {
		if err := s.next(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return out, err
		}
		data, err := io.ReadAll(&s)
		if err != nil {
			return out, err
		}
		out = append(out, string(data))
	}
}

func TestEventStream(t *testing.T) {
	long := strings.Repeat("0123456789\r", 20)
	for _, tt := range []struct {
		name, in string
		want     []string
		err      error
	}{
		{"nothing", "", nil, nil},
		{"the first bytes of a server", ":\r\n", nil, nil},
		{"an empty event", "\r\n\r\n\n", nil, nil},
		{"a message", "data: {\"type\":6}\x1e\r\n\r\n", []string{"{\"type\":6}\x1e"}, nil},
		{"several", "data: a\r\n\r\n:\r\ndata: b\r\n\r\n", []string{"a", "b"}, nil},
		{"lines", "data: Hello\r\ndata: World\r\ndata: \r\n\r\n", []string{"Hello\nWorld\n"}, nil},
		{"LF alone", "data: a\ndata: b\n\n", []string{"a\nb"}, nil},
		{"no space", "data:a\r\n\r\ndata:  b\r\n\r\n", []string{"a", " b"}, nil},
		{"no colon", "data\r\n\r\ndata\r\ndata\r\n\r\n", []string{"", "\n"}, nil},
		{"other fields", "event: x\r\nid: 7\r\ndata: a\r\nretry: 1000\r\n: comment\r\ndatabase: y\r\n\r\n", []string{"a"}, nil},
		{"long lines", "data: " + long + "\r\n: " + long + "\r\ndata: " + long + "\n\n", []string{long + "\n" + strings.TrimSuffix(long, "\r")}, nil},
		{"cut in an event", "data: a\r\n", nil, io.ErrUnexpectedEOF},
		{"cut in a line", "data: a\r\n\r\ndata: b", []string{"a"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, err := readEvents(r)
				if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
					t.Errorf("%q, %v, want %q, %v", got, err, tt.want, tt.err)
				}
			}
		})
	}
}

// What a server sends without end, be it data or not, takes no more memory than the buffer.
func TestEventStreamWithoutEnd(t *testing.T) {
	endless := strings.Repeat("0123456789", 400_000)
	for _, in := range []string{"data: " + endless, ": " + endless + "\ndata: x\n\n", strings.Repeat("data: x\n", 400_000), strings.Repeat("\n", 400_000)} {
		var before, after runtime.MemStats
		s := eventStream{r: bufio.NewReader(strings.NewReader(in))}
		runtime.ReadMemStats(&before)
		for s.next() == nil {
			_, _ = io.Copy(io.Discard, &s)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 128<<10 {
			t.Errorf("%.20q… took %d bytes", in, n)
		}
	}
}

// parseEvents does the same with all the text in hand, as the standard describes it.
func parseEvents(in []byte) (out []string) {
	var data []string
	for {
		line, rest, ended := bytes.Cut(in, []byte("\n"))
		if !ended {
			return out
		}
		in = rest
		text := strings.TrimSuffix(string(line), "\r")
		if text == "" {
			if data != nil {
				out = append(out, strings.Join(data, "\n"))
			}
			data = nil
			continue
		}
		if field, value, _ := strings.Cut(text, ":"); field == "data" {
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
}

func FuzzEventStream(f *testing.F) {
	f.Add([]byte(":\r\ndata: {\"type\":6}\x1e\r\n\r\n"))
	f.Add([]byte("data: Hello\r\ndata: World\r\n\r\nid: 7\ndata\n\n"))
	f.Add([]byte("data:0123456789\r0123456789\r\r\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		want := parseEvents(in)
		for _, r := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in))} {
			if got, _ := readEvents(r); !slices.Equal(got, want) {
				t.Fatalf("%q: %q, want %q", in, got, want)
			}
		}
	})
}
