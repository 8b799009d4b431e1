package node

import (
	"net"
	"net/netip"
	"testing"
)

func TestCheckAdvertise(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://10.0.0.7:8081":    true,
		"http://10.0.0.7:8081/":   true,
		"https://node.internal":   true,
		"http://[fd00::7]:8081":   true,
		"":                        false,
		"10.0.0.7:8081":           false,
		"node:8081":               false,
		"http://":                 false,
		"http://:8081":            false,
		"http://host/path":        false,
		"http://host?x":           false,
		"http://host#x":           false,
		"http://user@host:8081":   false,
		"redis://host:8081":       false,
		"http://host:8081 ":       false,
		"http://a:1,http://b:1":   false,
		"http://10.0.0.7:notport": false,
	} {
		if err := CheckAdvertise(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAdvertised(t *testing.T) {
	for address, want := range map[string]struct {
		url       string
		reachable bool
	}{
		"127.0.0.1:8081":      {"http://127.0.0.1:8081", false},
		"[::1]:8081":          {"http://[::1]:8081", false},
		"192.0.2.7:8081":      {"http://192.0.2.7:8081", true},
		"[2001:db8::7]:81":    {"http://[2001:db8::7]:81", true},
		"[::ffff:10.0.0.7]:1": {"http://10.0.0.7:1", true},
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if url, reachable := advertised(tcp); url != want.url || reachable != want.reachable {
			t.Errorf("%s: %s, %v; want %+v", address, url, reachable, want)
		}
	}
	for _, ip := range []net.IP{nil, net.IPv4zero, net.IPv6zero} {
		url, reachable := advertised(&net.TCPAddr{IP: ip, Port: 8081})
		found, any := firstAddress(hostAddresses())
		want := "http://127.0.0.1:8081" // this host may have nothing else
		if any {
			want = "http://" + netip.AddrPortFrom(found, 8081).String()
		}
		if url != want || reachable != any {
			t.Errorf("%v: %s, %v; want %s, %v", ip, url, reachable, want, any)
		}
	}
}

func TestFirstAddress(t *testing.T) {
	for want, all := range map[string][]string{
		"10.0.0.7":    {"127.0.0.1", "::1", "fe80::1", "2001:db8::7", "10.0.0.7", "192.168.0.1"},
		"2001:db8::7": {"127.0.0.1", "169.254.1.1", "fe80::1", "2001:db8::7", "2001:db8::8"},
		"":            {"127.0.0.1", "::1", "fe80::1", "169.254.1.1", "224.0.0.1"},
	} {
		var addresses []netip.Addr
		for _, a := range all {
			addresses = append(addresses, netip.MustParseAddr(a))
		}
		got, found := firstAddress(addresses)
		if found != (want != "") || found && got.String() != want {
			t.Errorf("%v: %v, want %q", all, got, want)
		}
	}
}
