package auth

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// DemoIssuer is the iss of the tokens that MintDemo makes.
const DemoIssuer = "hubfleet-demo"

// DemoLifetime is how long they are valid at most.
const DemoLifetime = time.Hour

// maxDemoName is how many characters a name in the demo may have.
const maxDemoName = 64

// DemoName checks a name that someone chose in the demo. The error says what a name must be.
func DemoName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("auth: no name: add ?user=NAME")
	case !utf8.ValidString(name):
		return fmt.Errorf("auth: the name is not UTF-8")
	case utf8.RuneCountInString(name) > maxDemoName:
		return fmt.Errorf("auth: the name has more than %d characters", maxDemoName)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("auth: the name begins or ends with a space")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("auth: the name has characters that cannot be printed")
	}
	return nil
}

// MintDemo makes a token for a user of the demo, who has proved nothing. It is valid for DemoLifetime, and only
// for verifiers with the same secret whose Demo is on. The error is one of DemoName.
func (v *Verifier) MintDemo(user string) (token string, expires time.Time, err error) {
	if err := DemoName(user); err != nil {
		return "", time.Time{}, err
	}
	now := v.now()
	expires = now.Add(DemoLifetime)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": DemoIssuer,
		"sub": user,
		"iat": now.Unix(),
		"exp": expires.Unix(),
	}).SignedString(v.secret)
	return token, expires, err
}
