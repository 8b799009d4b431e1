package node

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// CheckAdvertise says why a text cannot be the URL of a node's peer listener.
func CheckAdvertise(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return errors.New("use http://HOST:PORT, with nothing behind it")
	}
	return nil
}

// advertised is the URL at which other nodes reach what listens at an address, and whether those on other hosts do. An address for all
// interfaces stands for the first of this host's own that others may reach.
func advertised(listening net.Addr) (address string, reachable bool) {
	tcp, ok := listening.(*net.TCPAddr)
	if !ok {
		return "http://" + listening.String(), true
	}
	ip, _ := netip.AddrFromSlice(tcp.IP)
	ip = ip.Unmap().WithZone(tcp.Zone)
	reachable = !ip.IsLoopback()
	if !ip.IsValid() || ip.IsUnspecified() {
		if ip, reachable = firstAddress(hostAddresses()); !reachable {
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	// A URL's host would need the zone of a link-local address escaped, and it means something on this host only.
	return "http://" + net.JoinHostPort(ip.WithZone("").String(), strconv.Itoa(tcp.Port)), reachable
}

// hostAddresses are those of the interfaces that are up, in the order in which the system has them.
func hostAddresses() []netip.Addr {
	var all []netip.Addr
	interfaces, _ := net.Interfaces() // without the permission to look, there are none
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if prefix, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(prefix.IP); ok {
					all = append(all, ip.Unmap())
				}
			}
		}
	}
	return all
}

// firstAddress picks the first IPv4 address that other hosts may reach, or else the first such IPv6 address.
func firstAddress(all []netip.Addr) (ip netip.Addr, found bool) {
	for _, a := range all {
		switch {
		case !a.IsGlobalUnicast(): // loopback, link-local, multicast; private ones are global in this sense
		case a.Is4():
			return a, true
		case !found:
			ip, found = a, true
		}
	}
	return ip, found
}
