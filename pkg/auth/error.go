package auth

// Reason says in one word why a request was refused; it is a label of metrics, so the set is closed.
type Reason string

// The reasons.
const (
	Missing      Reason = "missing"       // no token at all
	Malformed    Reason = "malformed"     // not a JSON Web Token, or a claim of the wrong type
	Algorithm    Reason = "algorithm"     // signed in another way than HS256
	BadSignature Reason = "bad_signature" // signed with another secret, or changed since
	Expired      Reason = "expired"       // exp is past
	NoExpiry     Reason = "no_expiry"     // exp is absent
	NotYetValid  Reason = "not_yet_valid" // nbf is to come
	WrongIssuer  Reason = "issuer"        // iss is not the one expected
	WrongAud     Reason = "audience"      // aud does not hold the one expected
	DemoToken    Reason = "demo_token"    // a demo token where none is taken, or one that lives too long
)

// Reasons is all of them.
var Reasons = []Reason{
	Missing, Malformed, Algorithm, BadSignature, Expired, NoExpiry, NotYetValid, WrongIssuer, WrongAud, DemoToken,
}

// advice is what to do about each.
var advice = map[Reason]string{
	Missing:      `no token: send "Authorization: Bearer TOKEN", or the query parameter access_token`,
	Malformed:    "the token is malformed: send the three parts of a JSON Web Token as they were issued, with sub a string and the times numbers",
	Algorithm:    "the token is not signed with HS256: have the issuer use HMAC-SHA256 and the shared secret",
	BadSignature: "the signature does not match: issuer and node must use the same secret",
	Expired:      "the token has expired: get a new one (or set the clocks right)",
	NoExpiry:     "the token has no exp claim: have the issuer say until when it is valid",
	NotYetValid:  "the token is not valid yet (nbf): use it later (or set the clocks right)",
	WrongIssuer:  "the token is from another issuer than the one expected",
	WrongAud:     "the token is meant for another audience than the one expected",
	DemoToken:    "the token is one of the demo's: they are taken only while the demo is on, and for an hour",
}

// Error says why a token was refused. Its text holds no part of the token.
type Error struct {
	Reason Reason
}

func (e *Error) Error() string { return "auth: " + advice[e.Reason] }
