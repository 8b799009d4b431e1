package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRedirects is how often a negotiation may be sent elsewhere, as the official clients have it.
const maxRedirects = 100

// maxNegotiation bounds the answer to a negotiation, in bytes.
const maxNegotiation = 1 << 20

// route is where, and as what, a connection goes on after it was negotiated.
type route struct {
	url       *url.URL
	id        string // the connection's
	token     string // what stands for the connection in requests; empty without negotiation
	stateful  bool
	offers    []offer
	transport Transport // the one chosen
}

// offer is a transport that the server has.
type offer struct {
	Transport       Transport `json:"transport"`
	TransferFormats []string  `json:"transferFormats"`
}

// address is the URL of the transport's requests.
func (r *route) address() *url.URL {
	if r.token == "" {
		return r.url
	}
	return withQuery(r.url, "id="+url.QueryEscape(r.token))
}

// withQuery adds to the query of u, which stays as it was written.
func withQuery(u *url.URL, query string) *url.URL {
	out := *u
	if out.RawQuery != "" {
		out.RawQuery += "&"
	}
	out.RawQuery += query
	return &out
}

// negotiation is the server's answer.
type negotiation struct {
	Error           string          `json:"error"`
	URL             string          `json:"url"`
	AccessToken     string          `json:"accessToken"`
	Version         int             `json:"negotiateVersion"`
	ConnectionID    string          `json:"connectionId"`
	ConnectionToken string          `json:"connectionToken"`
	Stateful        bool            `json:"useStatefulReconnect"`
	Offers          []offer         `json:"availableTransports"`
	ProtocolVersion json.RawMessage `json:"ProtocolVersion"`
}

// negotiate asks the server for a connection, wherever it sends us. The requester sends what follows.
func (c *Client) negotiate(ctx context.Context) (route, *requester, error) {
	web := newRequester(&c.o)
	at := c.url
	for range maxRedirects {
		n, err := c.ask(ctx, web, at)
		switch {
		case err != nil:
			return route{}, nil, err
		case n.URL == "":
			r, err := c.accept(n, at)
			return r, web, err
		}
		next, err := at.Parse(n.URL)
		if err != nil || next.Scheme != "http" && next.Scheme != "https" || next.Host == "" {
			return route{}, nil, errors.New("client: the negotiation was redirected to something that is no http or https URL")
		}
		at = next
		if n.AccessToken != "" {
			web.fix(n.AccessToken)
		}
	}
	return route{}, nil, fmt.Errorf("client: the negotiation was redirected more than %d times", maxRedirects)
}

// ask sends one request to negotiate.
func (c *Client) ask(ctx context.Context, web *requester, at *url.URL) (*negotiation, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.HandshakeTimeout)
	defer cancel()
	query := "negotiateVersion=1"
	if c.o.StatefulReconnect {
		query += "&useStatefulReconnect=true"
	}
	res, err := web.do(ctx, request{method: http.MethodPost, url: withQuery(at.JoinPath("negotiate"), query)})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxNegotiation))
	if err != nil {
		return nil, fmt.Errorf("client: reading the answer to the negotiation: %w", err)
	}
	n := new(negotiation)
	if err := json.Unmarshal(body, n); err != nil {
		return nil, fmt.Errorf("client: the answer to the negotiation is not one of a SignalR server; is the URL right? %w", err)
	}
	switch {
	case n.ProtocolVersion != nil:
		return nil, errors.New("client: the server speaks the older ASP.NET SignalR, which is another protocol")
	case n.Error != "":
		return nil, fmt.Errorf("client: the server refused the negotiation: %w", &HubError{Message: n.Error})
	}
	return n, nil
}

// accept checks an answer that is no redirect.
func (c *Client) accept(n *negotiation, at *url.URL) (route, error) {
	r := route{url: at, id: n.ConnectionID, token: n.ConnectionToken, stateful: n.Stateful, offers: n.Offers}
	if n.Version < 1 {
		r.token = r.id
	}
	switch {
	case r.id == "" || r.token == "" || len(r.offers) == 0:
		return r, errors.New("client: the answer to the negotiation lacks the connection's id, its token, or the transports")
	case r.stateful && !c.o.StatefulReconnect:
		return r, errors.New("client: the server grants stateful reconnect, which was not asked for")
	}
	return r, nil
}

// choose returns the first transport on offer that may be used and has not been tried; else an error that says why there is none.
func (c *Client) choose(r *route, tried []Transport) (Transport, error) {
	format := "Text"
	if c.o.Codec.Binary() {
		format = "Binary"
	}
	var reasons []string
	for _, o := range r.offers {
		switch {
		case slices.Contains(tried, o.Transport):
		case o.Transport != WebSockets && o.Transport != ServerSentEvents && o.Transport != LongPolling:
			reasons = append(reasons, string(o.Transport)+" is unknown")
		case !c.o.allows(o.Transport):
			reasons = append(reasons, string(o.Transport)+" is not among Options.Transports")
		case !slices.Contains(o.TransferFormats, format):
			reasons = append(reasons, string(o.Transport)+" cannot carry "+c.o.Codec.Name())
		default:
			return o.Transport, nil
		}
	}
	return "", fmt.Errorf("client: none of the transports that the server offers can be used: %s", strings.Join(reasons, ", "))
}
