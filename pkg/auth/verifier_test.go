package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/pkg/auth"
)

var (
	secret = []byte("0123456789abcdef0123456789abcdef")
	now    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// at is a NumericDate some seconds from now.
func at(seconds int64) int64 { return now.Unix() + seconds }

func verifier(t *testing.T, change func(*auth.Options)) *auth.Verifier {
	t.Helper()
	o := auth.Options{Secret: secret, Now: func() time.Time { return now }}
	if change != nil {
		change(&o)
	}
	v, err := auth.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestVerify(t *testing.T) {
	strict := func(o *auth.Options) { o.Issuer, o.Audience = "https://issuer.example", "chat" }
	demo := func(o *auth.Options) { o.Demo = true }
	strictDemo := func(o *auth.Options) { strict(o); demo(o) }
	sharp := func(o *auth.Options) { o.Leeway = -1 }
	type m = jwt.MapClaims

	tests := []struct {
		name   string
		change func(*auth.Options)
		claims m
		want   auth.Reason // "" is admitted
	}{
		{"plain", nil, m{"sub": "ann", "exp": at(60)}, ""},
		{"issuer and audience are not asked for", nil, m{"sub": "ann", "exp": at(60), "iss": "x", "aud": "y"}, ""},
		{"no subject", nil, m{"exp": at(60)}, ""},
		{"expired within the leeway", nil, m{"exp": at(-59)}, ""},
		{"expired", nil, m{"exp": at(-61)}, auth.Expired},
		{"expired without leeway", sharp, m{"exp": at(-1)}, auth.Expired},
		{"no exp", nil, m{"sub": "ann"}, auth.NoExpiry},
		{"exp null", nil, m{"exp": nil}, auth.Malformed},
		{"exp a string", nil, m{"exp": "tomorrow"}, auth.Malformed},
		{"nbf within the leeway", nil, m{"exp": at(600), "nbf": at(59)}, ""},
		{"nbf to come", nil, m{"exp": at(600), "nbf": at(61)}, auth.NotYetValid},
		{"nbf a string", nil, m{"exp": at(600), "nbf": "now"}, auth.Malformed},
		{"sub a number", nil, m{"exp": at(60), "sub": 7}, auth.Malformed},
		{"iss a number", nil, m{"exp": at(60), "iss": 7}, auth.Malformed},
		{"strict: right", strict, m{"exp": at(60), "iss": "https://issuer.example", "aud": []string{"mail", "chat"}}, ""},
		{"strict: another issuer", strict, m{"exp": at(60), "iss": "https://evil.example", "aud": "chat"}, auth.WrongIssuer},
		{"strict: no issuer", strict, m{"exp": at(60), "aud": "chat"}, auth.WrongIssuer},
		{"strict: another audience", strict, m{"exp": at(60), "iss": "https://issuer.example", "aud": "mail"}, auth.WrongAud},
		{"strict: no audience", strict, m{"exp": at(60), "iss": "https://issuer.example"}, auth.WrongAud},
		{"strict: no exp", strict, m{"iss": "https://issuer.example", "aud": "chat"}, auth.NoExpiry},
		{"demo token, demo off", nil, m{"sub": "ann", "iss": auth.DemoIssuer, "exp": at(60)}, auth.DemoToken},
		{"demo token, demo on", demo, m{"sub": "ann", "iss": auth.DemoIssuer, "exp": at(60)}, ""},
		{"demo token beside an issuer", strictDemo, m{"sub": "ann", "iss": auth.DemoIssuer, "exp": at(60)}, ""},
		{"demo token, too long", demo, m{"sub": "ann", "iss": auth.DemoIssuer, "exp": at(2 * 3600)}, auth.DemoToken},
		{"demo token, expired", demo, m{"sub": "ann", "iss": auth.DemoIssuer, "exp": at(-61)}, auth.Expired},
		{"demo token, no exp", demo, m{"sub": "ann", "iss": auth.DemoIssuer}, auth.NoExpiry},
		{"another issuer, demo on", strictDemo, m{"sub": "ann", "iss": "https://evil.example", "aud": "chat", "exp": at(60)}, auth.WrongIssuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := verifier(t, tt.change).Verify(sign(t, jwt.SigningMethodHS256, secret, tt.claims))
			checkReason(t, err, tt.want)
			if tt.want == "" {
				user, _ := tt.claims["sub"].(string)
				exp := time.Unix(tt.claims["exp"].(int64), 0)
				if id.UserID != user || !id.Expires.Equal(exp) {
					t.Errorf("user %q until %v, want %q until %v", id.UserID, id.Expires, user, exp)
				}
			}
		})
	}
}

func checkReason(t *testing.T, err error, want auth.Reason) {
	t.Helper()
	var refused *auth.Error
	switch {
	case err == nil && want == "":
	case err == nil:
		t.Errorf("admitted; want %q", want)
	case !errors.As(err, &refused):
		t.Errorf("%v is no *auth.Error", err)
	case refused.Reason != want:
		t.Errorf("reason %q (%v), want %q", refused.Reason, err, want)
	}
}

// TestForgeries are tokens that a careless verifier takes.
func TestForgeries(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})
	claims := jwt.MapClaims{"sub": "ann", "exp": at(60)}
	good := sign(t, jwt.SigningMethodHS256, secret, claims)
	parts := strings.Split(good, ".")
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

	tests := []struct {
		name, token string
		want        auth.Reason
	}{
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims), auth.Algorithm},
		{"alg none, signature kept", header(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], auth.Algorithm},
		{"alg NONE", header(`{"alg":"NONE"}`) + "." + parts[1] + ".", auth.Algorithm},
		{"no alg", header(`{}`) + "." + parts[1] + "." + parts[2], auth.Algorithm},
		{"RS256", sign(t, jwt.SigningMethodRS256, key, claims), auth.Algorithm},
		{"HS256 with a public key as the secret", sign(t, jwt.SigningMethodHS256, public, claims), auth.BadSignature},
		{"HS512", sign(t, jwt.SigningMethodHS512, secret, claims), auth.Algorithm},
		{"another secret", sign(t, jwt.SigningMethodHS256, []byte("another secret of thirty-two byte"), claims), auth.BadSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", auth.BadSignature},
		{"changed claims", parts[0] + "." + header(`{"sub":"root","exp":9999999999}`) + "." + parts[2], auth.BadSignature},
		{"two parts", parts[0] + "." + parts[1], auth.Malformed},
		{"five parts", good + ".a.b", auth.Malformed},
		{"no token at all", "hello", auth.Malformed},
		{"header no JSON", header("hello") + "." + parts[1] + "." + parts[2], auth.Malformed},
		{"claims no JSON", parts[0] + "." + header("hello") + "." + parts[2], auth.Malformed},
	}
	v := verifier(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify(tt.token)
			checkReason(t, err, tt.want)
		})
	}
	if _, err := v.Verify(good); err != nil {
		t.Errorf("the genuine one: %v", err)
	}
}

func TestAuthenticate(t *testing.T) {
	v := verifier(t, nil)
	good := sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "exp": at(60), "role": "admin"})
	tests := []struct {
		name, header, query string
		want                auth.Reason
	}{
		{"header", "Bearer " + good, "", ""},
		{"header, any case", "bearer  " + good, "", ""},
		{"query", "", "?id=1&access_token=" + good, ""},
		{"another scheme in the header", "Basic YTpi", "?access_token=" + good, ""},
		{"the header counts", "Bearer junk", "?access_token=" + good, auth.Malformed},
		{"nothing", "", "", auth.Missing},
		{"empty header", "Bearer ", "", auth.Missing},
		{"another scheme only", "Basic YTpi", "", auth.Missing},
		{"empty query", "", "?access_token=", auth.Missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/chat"+tt.query, nil)
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			id, err := v.Authenticate(r)
			checkReason(t, err, tt.want)
			if err != nil {
				return
			}
			want := auth.Identity{
				UserID:  "ann",
				Claims:  map[string]any{"sub": "ann", "exp": float64(at(60)), "role": "admin"},
				Expires: time.Unix(at(60), 0),
			}
			if diff := cmp.Diff(want, id); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

// TestErrorsTell makes sure that each refusal says what to do, and nothing of the token.
func TestErrorsTell(t *testing.T) {
	for _, reason := range auth.Reasons {
		text := (&auth.Error{Reason: reason}).Error()
		if len(text) < len("auth: ")+20 {
			t.Errorf("%s: %q helps nobody", reason, text)
		}
	}
	_, err := verifier(t, nil).Verify("super.secret.token")
	if strings.Contains(err.Error(), "super") {
		t.Errorf("the error gives the token away: %v", err)
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	for name, o := range map[string]auth.Options{
		"no secret":         {},
		"31 bytes":          {Secret: secret[:31]},
		"the demo's issuer": {Secret: secret, Issuer: auth.DemoIssuer},
	} {
		if _, err := auth.NewVerifier(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	good, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": at(60)}).SignedString(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add("..")
	v, err := auth.NewVerifier(auth.Options{Secret: secret, Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(token)
		var refused *auth.Error
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("%v is no *auth.Error", err)
		}
		// base64 has more than one spelling, so the token need not be the same; what it says must be.
		if err == nil && !id.Expires.Equal(time.Unix(at(60), 0)) {
			t.Fatalf("admitted %q as %+v", token, id)
		}
	})
}
