package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// dialing opens one connection to a hub.
type dialing struct {
	plan   *plan
	codec  protocol.Codec
	url    string
	user   string // empty: nobody
	token  string
	source net.IP // nil: the system's choice
}

// opened is a connection that has shaken hands.
type opened struct {
	net  net.Conn
	rest []byte // read from the network, and not parsed yet
	said []byte // hub messages that came with the answer to the handshake
}

// open negotiates, opens a WebSocket over the same network connection, and shakes hands.
func (d *dialing) open(ctx context.Context) (*opened, error) {
	ctx, cancel := context.WithTimeout(ctx, d.plan.Timeout)
	defer cancel()
	u, err := url.Parse(d.url)
	if err != nil {
		return nil, err
	}
	c, err := d.connect(ctx, u)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline) // its error would come again from the next read
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	o, err := d.shake(c, u)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return o, c.SetDeadline(time.Time{})
}

func (d *dialing) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	secure := u.Scheme == "https" || u.Scheme == "wss"
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[secure]
	}
	dialer := net.Dialer{KeepAlive: -1}
	if d.source != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: d.source}
		dialer.Control = latePort
	}
	c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || !secure {
		return c, err
	}
	t := tls.Client(c, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: d.plan.Insecure})
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// shake does everything between the network connection and the first hub message.
func (d *dialing) shake(c net.Conn, u *url.URL) (*opened, error) {
	in := bufio.NewReaderSize(c, 2048)
	query := u.Query()
	if d.user != "" {
		query.Set("user", d.user)
	}
	if d.plan.Negotiate {
		id, err := d.negotiate(c, in, u, query)
		if err != nil {
			return nil, fmt.Errorf("negotiate: %w", err)
		}
		query.Set("id", id)
	}
	if err := d.upgrade(c, in, u, query); err != nil {
		return nil, fmt.Errorf("WebSocket: %w", err)
	}
	said, err := d.handshake(c, in)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	rest, _ := in.Peek(in.Buffered())
	return &opened{net: c, rest: rest, said: said}, nil
}

// request writes an HTTP request without a body.
func (d *dialing) request(c net.Conn, method string, u *url.URL, path string, query url.Values, headers string) error {
	target := path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	text := method + " " + target + " HTTP/1.1\r\nHost: " + u.Host + "\r\n" + headers
	if d.token != "" {
		text += "Authorization: Bearer " + d.token + "\r\n"
	}
	_, err := io.WriteString(c, text+"\r\n")
	return err
}

// negotiate returns the connection token.
func (d *dialing) negotiate(c net.Conn, in *bufio.Reader, u *url.URL, query url.Values) (string, error) {
	q := url.Values{"negotiateVersion": {"1"}}
	for k, v := range query {
		q[k] = v
	}
	if err := d.request(c, http.MethodPost, u, strings.TrimSuffix(u.EscapedPath(), "/")+"/negotiate", q, "Content-Length: 0\r\n"); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil:
		return "", err
	case res.StatusCode != http.StatusOK:
		return "", fmt.Errorf("the server answered %s", res.Status)
	}
	var answer struct {
		ConnectionToken, ConnectionID, URL, Error string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	switch {
	case answer.Error != "":
		return "", errors.New(answer.Error)
	case answer.URL != "":
		return "", fmt.Errorf("the server redirects to %s; give that as the URL", answer.URL)
	case answer.ConnectionToken != "":
		return answer.ConnectionToken, nil
	case answer.ConnectionID != "":
		return answer.ConnectionID, nil
	}
	return "", errors.New("the answer has no connection token")
}

func (d *dialing) upgrade(c net.Conn, in *bufio.Reader, u *url.URL, query url.Values) error {
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return err
	}
	key := base64.StdEncoding.EncodeToString(nonce[:])
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	err := d.request(c, http.MethodGet, u, path, query,
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\n")
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(in, nil)
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the server answered %s", res.Status)
	case res.Header.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return errors.New("the server's answer does not belong to the question")
	}
	return nil
}

// acceptKey is the answer to a Sec-WebSocket-Key (RFC 6455, section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// handshake agrees on the hub protocol; what came behind the answer is returned.
func (d *dialing) handshake(c net.Conn, in *bufio.Reader) (said []byte, err error) {
	request := protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: d.codec.Name(), Version: 1})
	if _, err := c.Write(appendFrame(nil, opText, request, true)); err != nil {
		return nil, err
	}
	for {
		b, op, err := readFrame(in)
		switch {
		case err != nil:
			return nil, err
		case op == opClose:
			return nil, errors.New("the server closed the connection")
		case op >= opClose:
			continue
		}
		said = append(said, b...)
		refusal, n, err := protocol.ParseHandshakeResponse(said)
		switch {
		case err != nil:
			return nil, err
		case refusal != "":
			return nil, errors.New(refusal)
		case n > 0:
			return said[n:], nil
		}
	}
}

// readFrame reads one whole frame.
func readFrame(in *bufio.Reader) (payload []byte, op byte, err error) {
	for n := 2; n <= headerSize; n++ {
		b, err := in.Peek(n)
		if err != nil {
			return nil, 0, err
		}
		h, ok, err := parseHeader(b)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			continue
		}
		if _, err := in.Discard(h.length); err != nil {
			return nil, 0, err
		}
		payload = make([]byte, h.size)
		_, err = io.ReadFull(in, payload)
		return payload, h.op, err
	}
	return nil, 0, errFrame
}

// mint makes a token for a user, good for as long as a run can take.
func mint(secret []byte, user string) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "exp": time.Now().Add(2 * maxDuration).Unix(),
	}).SignedString(secret)
}
