package transport

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTokenRoundTrip(t *testing.T) {
	for _, stateful := range []bool{false, true} {
		tokens := testTokens("node-1.example:8081")
		before := time.Now().Truncate(time.Millisecond)
		token, id, err := tokens.Mint("/chat", stateful)
		if err != nil {
			t.Fatal(err)
		}
		got, err := testTokens("another").Parse("/chat", token)
		if err != nil {
			t.Fatal(err)
		}
		want := Token{ID: id, Node: "node-1.example:8081", Stateful: stateful}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Token{}), cmpopts.IgnoreFields(Token{}, "Issued")); diff != "" {
			t.Error(diff)
		}
		if got.Issued.Before(before) || got.Issued.After(time.Now()) {
			t.Errorf("issued %v, not between %v and now", got.Issued, before)
		}
		if !isID(id) {
			t.Errorf("the id %q is not 16 bytes in base64url", id)
		}
		if strings.ContainsFunc(token, func(r rune) bool {
			return !strings.ContainsRune("-_", r) && (r < '0' || r > '9') && (r < 'A' || r > 'z')
		}) {
			t.Errorf("%q needs escaping in a URL", token)
		}
	}
}

func TestTokenThatIsTheID(t *testing.T) {
	tokens := testTokens("n")
	token, err := tokens.mintAll("/chat")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tokens.Parse("/chat", token); err != nil || got.ID != token {
		t.Errorf("ID %q, %v; want the token %q", got.ID, err, token)
	}
}

func TestTokenRefused(t *testing.T) {
	tokens := testTokens("node")
	good, _, err := tokens.Mint("/chat", false)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	change := func(i int, x byte) string {
		b := append([]byte(nil), raw...)
		b[(i+len(b))%len(b)] ^= x
		return base64.RawURLEncoding.EncodeToString(b)
	}
	tests := map[string]struct {
		path, token string
		want        error
	}{
		"empty":              {"/chat", "", ErrTokenMalformed},
		"an id":              {"/chat", newConnectionKey().String(), ErrTokenMalformed},
		"not base64":         {"/chat", good[:len(good)-1] + "!", ErrTokenMalformed},
		"padded":             {"/chat", good + "=", ErrTokenMalformed},
		"a line break in it": {"/chat", good[:10] + "\n" + good[10:], ErrTokenMalformed},
		"written otherwise":  {"/chat", good[:len(good)-1] + string(good[len(good)-1]+1), ErrTokenMalformed}, // in bits that mean nothing
		"cut short":          {"/chat", good[:len(good)-4], ErrTokenMalformed},
		"too long":           {"/chat", good + strings.Repeat("AAAA", 200), ErrTokenMalformed},
		"another version":    {"/chat", change(0, 2), ErrTokenMalformed},
		"an unknown flag":    {"/chat", change(offFlags, 0x80), ErrTokenMalformed},
		"another key":        {"/chat", change(offKey, 1), ErrTokenForged},
		"stateful after all": {"/chat", change(offFlags, flagStateful), ErrTokenForged},
		"the id changed":     {"/chat", change(offID, 1), ErrTokenForged},
		"the time changed":   {"/chat", change(offIssued+5, 1), ErrTokenForged},
		"the node changed":   {"/chat", change(fixedSize, 1), ErrTokenForged},
		"signature changed":  {"/chat", change(-1, 1), ErrTokenForged},
		"another hub":        {"/news", good, ErrTokenOtherHub},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tokens.Parse(test.path, test.token); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	// The hub's short tag is not what protects: neither one that was changed to fit, nor a hub that has the same.
	other, tag := "", hubTag("/chat")
	for i := 0; other == ""; i++ {
		if path := "/" + strconv.Itoa(i); hubTag(path) == tag {
			other = path
		}
	}
	if _, err := tokens.Parse(other, good); !errors.Is(err, ErrTokenForged) {
		t.Errorf("a hub with the same tag: got %v, want %v", err, ErrTokenForged)
	}
	tag = hubTag("/news")
	raw[offHub], raw[offHub+1] = tag[0], tag[1]
	if _, err := tokens.Parse("/news", base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrTokenForged) {
		t.Errorf("a fitting tag: got %v, want %v", err, ErrTokenForged)
	}
}

func TestTokenSecret(t *testing.T) {
	var secret []byte
	unknown := errors.New("nobody told me")
	tokens := NewTokens("n", func() ([]byte, error) {
		if secret == nil {
			return nil, unknown
		}
		return secret, nil
	})
	if _, _, err := tokens.Mint("/", false); !errors.Is(err, unknown) {
		t.Errorf("Mint without a secret: %v", err)
	}
	if _, err := tokens.Parse("/", "x"); !errors.Is(err, unknown) {
		t.Errorf("Parse without a secret: %v", err)
	}
	secret = testSecret[:MinSecret-1]
	if _, _, err := tokens.Mint("/", false); err == nil || !strings.Contains(err.Error(), "at least 32") {
		t.Errorf("Mint with a short secret: %v", err)
	}
	secret = testSecret
	token, _, err := tokens.Mint("/", false)
	if err != nil {
		t.Fatal(err)
	}
	secret = []byte(strings.Repeat("x", MinSecret))
	if _, err := tokens.Parse("/", token); !errors.Is(err, ErrTokenForged) {
		t.Errorf("after a change of the secret: %v, want %v", err, ErrTokenForged)
	}
	secret = testSecret
	if _, err := tokens.Parse("/", token); err != nil {
		t.Errorf("with the first secret again: %v", err)
	}
}

func TestTokenNodeTooLong(t *testing.T) {
	if _, _, err := testTokens(strings.Repeat("n", maxNode)).Mint("/", false); err != nil {
		t.Error(err)
	}
	if _, _, err := testTokens(strings.Repeat("n", maxNode+1)).Mint("/", false); err == nil || !strings.Contains(err.Error(), "shorten") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

// FuzzToken: nothing but a minted token parses, however like one it looks.
func FuzzToken(f *testing.F) {
	tokens := testTokens("node")
	good, err := tokens.mint("/chat", connectionKey{1, 2, 3}, flagStateful, time.UnixMilli(1_800_000_000_000))
	if err != nil {
		f.Fatal(err)
	}
	whole, err := tokens.mint("/chat", connectionKey{9}, flagIDIsAll, time.UnixMilli(0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/chat", good)
	f.Add("/chat", whole)
	f.Add("/chat", good+"A")
	f.Add("/news", good)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, path, token string) {
		got, err := tokens.Parse(path, token)
		if err != nil {
			if !errors.Is(err, ErrTokenMalformed) && !errors.Is(err, ErrTokenForged) && !errors.Is(err, ErrTokenOtherHub) {
				t.Fatalf("%q: an error of no kind: %v", token, err)
			}
			return
		}
		if path != "/chat" || (token != good && token != whole) {
			t.Fatalf("%q at %q was never minted, but parses as %+v", token, path, got)
		}
	})
}

func BenchmarkTokenParse(b *testing.B) {
	tokens := testTokens("node")
	token, _, err := tokens.Mint("/chat", false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Parse("/chat", token); err != nil {
			b.Fatal(err)
		}
	}
}
