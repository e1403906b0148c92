package api

import (
	"net/netip"
	"time"
)

type (
	// NetworkCheckRequest asks whether networks that span boards carry what they
	// should.
	NetworkCheckRequest struct {
		// Of are networks, by name or ID; with none, all.
		Of []string `json:",omitempty"`
		// Local asks only what this board finds.
		Local bool `json:",omitempty"`
	}
	// NetworkCheckResponse has what each board found, by name.
	NetworkCheckResponse struct {
		Boards []NetworkCheck
		// Silent boards did not tell: which, and why.
		Silent []SilentBoard `json:",omitempty"`
	}
	// NetworkCheck is what one board found: of itself, and of the ways from it.
	NetworkCheck struct {
		NodeID   NodeID
		NodeName string
		// Trouble is what is not as it should be on this board, in words.
		Trouble []string `json:",omitempty"`
		Ways    []NetworkWay
	}
	// NetworkWay is the way from a board to another, or to a task of any board.
	NetworkWay struct {
		Network string // by name
		To      string // a board's name, or a service's with the task's ID
		Addr    netip.Addr
		// Latency there and back, the least of a few; 0 if it was not reached.
		Latency time.Duration `json:",omitempty"`
		// MTU is the largest packet that arrived in one piece, in bytes: what the
		// network is to carry, or 0 if such a packet did not.
		MTU int `json:",omitempty"`
		// Err is what is broken, in words; "" if nothing is.
		Err string `json:",omitempty"`
	}
)
