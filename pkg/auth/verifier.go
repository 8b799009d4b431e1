package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MinSecret is how many bytes a secret must have: as many as the hash, as RFC 7518, section 3.2, demands.
const MinSecret = 32

// DefaultLeeway is how far the clocks of issuer and node may be apart.
const DefaultLeeway = 60 * time.Second

// Options say which tokens to take.
type Options struct {
	// Secret is what tokens are signed with, at least MinSecret bytes. Required.
	Secret []byte
	// Issuer, if not empty, must be the token's iss.
	Issuer string
	// Audience, if not empty, must be among the token's aud.
	Audience string
	// Leeway is allowed on exp and nbf. Zero means DefaultLeeway; negative, none.
	Leeway time.Duration
	// Demo takes tokens of MintDemo too, whatever Issuer and Audience say. Otherwise they are refused.
	Demo bool
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
}

// Identity is who a token speaks of.
type Identity struct {
	// UserID is the sub claim; empty when the token has none, which makes its bearer anonymous but admitted.
	UserID string
	// Claims is everything the token says, as encoding/json decodes it.
	Claims map[string]any
	// Expires is the exp claim.
	Expires time.Time
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	secret []byte
	now    func() time.Time
	demo   bool
	leeway time.Duration

	parser     *jwt.Parser
	claims     *jwt.Validator // for tokens of real issuers
	demoClaims *jwt.Validator
}

// NewVerifier returns a Verifier, or an error that says which option is wrong.
func NewVerifier(o Options) (*Verifier, error) {
	if len(o.Secret) < MinSecret {
		return nil, fmt.Errorf("auth: the secret has %d bytes; at least %d are needed", len(o.Secret), MinSecret)
	}
	if o.Issuer == DemoIssuer {
		return nil, fmt.Errorf("auth: the issuer %q is reserved for the demo; use another", DemoIssuer)
	}
	v := &Verifier{secret: o.Secret, now: o.Now, demo: o.Demo, leeway: o.Leeway}
	if v.now == nil {
		v.now = time.Now
	}
	if v.leeway == 0 {
		v.leeway = DefaultLeeway
	}
	v.leeway = max(v.leeway, 0)

	// The claims are checked apart, as which rules hold depends on the issuer, known only once the signature is.
	v.parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithoutClaimsValidation())
	rules := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(v.leeway), jwt.WithTimeFunc(v.now)}
	v.demoClaims = jwt.NewValidator(rules...)
	if o.Issuer != "" {
		rules = append(rules, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		rules = append(rules, jwt.WithAudience(o.Audience))
	}
	v.claims = jwt.NewValidator(rules...)
	return v, nil
}

// Leeway is how long after its exp a token is still accepted.
func (v *Verifier) Leeway() time.Duration { return v.leeway }

// Authenticate checks the token of a request. The error is an *Error.
func (v *Verifier) Authenticate(r *http.Request) (Identity, error) {
	token := Bearer(r)
	if token == "" {
		return Identity{}, &Error{Missing}
	}
	return v.Verify(token)
}

// Bearer is the token that a request carries, or "": the one of the Authorization header, else the query parameter
// access_token. An Authorization header of another scheme, such as a proxy's Basic, is none of ours.
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return r.URL.Query().Get("access_token")
}

// Verify checks one token. The error is an *Error.
func (v *Verifier) Verify(token string) (Identity, error) {
	claims := jwt.MapClaims{}
	parsed, err := v.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return v.secret, nil })
	if err != nil {
		return Identity{}, &Error{parseReason(parsed, err)}
	}
	issuer, err := claims.GetIssuer()
	if err != nil {
		return Identity{}, &Error{Malformed}
	}
	if issuer == DemoIssuer {
		return v.verifyDemo(claims)
	}
	if err := v.claims.Validate(claims); err != nil {
		return Identity{}, &Error{claimsReason(claims, err)}
	}
	return identity(claims)
}

// verifyDemo checks the claims of a token that says it is the demo's.
func (v *Verifier) verifyDemo(claims jwt.MapClaims) (Identity, error) {
	if !v.demo {
		return Identity{}, &Error{DemoToken}
	}
	if err := v.demoClaims.Validate(claims); err != nil {
		return Identity{}, &Error{claimsReason(claims, err)}
	}
	id, err := identity(claims)
	if err != nil {
		return Identity{}, err
	}
	if id.Expires.After(v.now().Add(DemoLifetime + v.leeway)) {
		return Identity{}, &Error{DemoToken}
	}
	return id, nil
}

// identity is what checked claims say.
func identity(claims jwt.MapClaims) (Identity, error) {
	user, err := claims.GetSubject()
	if err != nil {
		return Identity{}, &Error{Malformed}
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return Identity{}, &Error{NoExpiry}
	}
	return Identity{UserID: user, Claims: claims, Expires: expires.Time}, nil
}

// parseReason is why a token could not be read, or its signature not be accepted.
func parseReason(parsed *jwt.Token, err error) Reason {
	if errors.Is(err, jwt.ErrTokenMalformed) || parsed == nil {
		return Malformed
	}
	if alg, _ := parsed.Header["alg"].(string); alg != jwt.SigningMethodHS256.Alg() {
		return Algorithm
	}
	return BadSignature
}

// claimsReason is the first thing wrong with the claims, the most telling one first.
func claimsReason(claims jwt.MapClaims, err error) Reason {
	for _, r := range []struct {
		err    error
		reason Reason
	}{
		{jwt.ErrTokenExpired, Expired},
		{jwt.ErrTokenNotValidYet, NotYetValid},
		{jwt.ErrInvalidType, Malformed},
		{jwt.ErrTokenInvalidIssuer, WrongIssuer},
		{jwt.ErrTokenInvalidAudience, WrongAud},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return missingReason(claims)
}

// missingReason tells which of the claims that must be there is not: the library has one sentinel for them all.
func missingReason(claims jwt.MapClaims) Reason {
	if exp, err := claims.GetExpirationTime(); err == nil && exp == nil {
		return NoExpiry
	}
	if issuer, err := claims.GetIssuer(); err == nil && issuer == "" {
		return WrongIssuer
	}
	return WrongAud
}
