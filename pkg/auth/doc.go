// Package auth turns bearer tokens into a user and claims. It knows nothing of hubs.
//
// Tokens are JSON Web Tokens (RFC 7519) signed with HMAC-SHA256 and a secret that whoever issues them shares with the
// nodes. They come in the Authorization header or, as browsers cannot set headers on a WebSocket, in the query parameter
// access_token.
package auth
