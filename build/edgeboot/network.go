package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// networkUnits are the files for systemd-networkd, by name: DHCP everywhere,
// but what the card says of one interface.
func networkUnits(c *settings.Card) map[string]string {
	units := map[string]string{"20-edge.network": networkUnit("eth* wlan* usb*", "DHCP=yes\n", "")}
	name := c.Interface
	if name == "" {
		name = "eth0"
		if c.WiFi != "" {
			name = "wlan0"
		}
	}
	var network, route strings.Builder
	if c.Address == "" {
		network.WriteString("DHCP=yes\n")
	} else {
		fmt.Fprintf(&network, "Address=%s\n", c.Address)
		if c.Gateway != "" {
			fmt.Fprintf(&route, "\n[Route]\nGateway=%s\n", c.Gateway)
		}
	}
	for _, server := range c.DNS {
		fmt.Fprintf(&network, "DNS=%s\n", server)
	}
	units["10-edge.network"] = networkUnit(name, network.String(), route.String())
	return units
}

func networkUnit(name, network, route string) string {
	// A card moved to another board is another client, so the address of the
	// hardware counts. A board that runs on goes on without its DHCP server.
	return "[Match]\nName=" + name + "\n\n[Network]\n" + network + route + "\n[DHCPv4]\nClientIdentifier=mac\n\n[Link]\nRequiredForOnline=no\n"
}

// wpaConfig is what wpa_supplicant reads; "" without WiFi. Names and passwords
// go in hexadecimal or were judged, so that no character of them has a meaning.
func wpaConfig(c *settings.Card) string {
	if c.WiFi == "" {
		return ""
	}
	var out strings.Builder
	if c.WiFiCountry != "" {
		fmt.Fprintf(&out, "country=%s\n", c.WiFiCountry)
	}
	fmt.Fprintf(&out, "network={\n\tssid=%s\n\tscan_ssid=1\n", hex.EncodeToString([]byte(c.WiFi)))
	if c.WiFiPassword == "" {
		out.WriteString("\tkey_mgmt=NONE\n}\n")
	} else {
		fmt.Fprintf(&out, "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk=\"%s\"\n}\n", c.WiFiPassword)
	}
	return out.String()
}

// timeServers is the configuration of systemd-timesyncd; "" for its own.
func timeServers(c *settings.Card) string {
	if len(c.TimeServers) == 0 {
		return ""
	}
	return "[Time]\nNTP=" + strings.Join(c.TimeServers, " ") + "\n"
}

// writeResolv hands the name servers that networkd was told to programs.
func writeResolv() error {
	raw, err := os.ReadFile("/run/systemd/netif/state")
	if err != nil {
		return err
	}
	return os.WriteFile(runDir+"/resolv.conf", []byte(resolvConf(string(raw))), 0o644)
}

// resolvConf reads networkd's state (sd_network_get_dns(3)).
func resolvConf(state string) string {
	var out strings.Builder
	for line := range strings.Lines(state) {
		if servers, ok := strings.CutPrefix(strings.TrimSpace(line), "DNS="); ok {
			for _, s := range strings.Fields(servers) {
				fmt.Fprintf(&out, "nameserver %s\n", s)
			}
		}
	}
	return out.String()
}
