package api

import (
	"context"
	"net/netip"
	"time"
)

type (
	// WaitingRequest asks who waits to be accepted.
	WaitingRequest struct {
		// Local asks only for who waits at this board's door.
		Local bool `json:",omitempty"`
	}
	// WaitingResponse lists them, who came first at the front.
	WaitingResponse struct {
		Boards []WaitingBoard
		// Silent are managers that did not answer: others may wait there.
		Silent []SilentBoard `json:",omitempty"`
	}
	// WaitingBoard is a board without key or token. Nothing of it is proven but
	// that it holds its own key.
	WaitingBoard struct {
		NodeID   NodeID
		Hostname string
		Addr     netip.AddrPort
		// Code is the first group of the board's code. If the board itself shows
		// another, somebody is between the two.
		Code  string
		Since time.Time
		// At is the manager at whose door it waits.
		At NodeID
	}
	// AcceptRequest lets a board in by the code that it shows.
	AcceptRequest struct {
		Code string
		Role NodeRole
		// Local looks only at this board's door.
		Local bool `json:",omitempty"`
	}
	// AcceptResponse is who was let in.
	AcceptResponse struct{ Board WaitingBoard }
)

// Waiting calls BoardServer.Waiting.
func (c *BoardClient) Waiting(ctx context.Context, r *WaitingRequest) (*WaitingResponse, error) {
	return invoke[WaitingResponse](ctx, c.cc, board+"Waiting", r)
}

// Accept calls BoardServer.Accept.
func (c *BoardClient) Accept(ctx context.Context, r *AcceptRequest) (*AcceptResponse, error) {
	return invoke[AcceptResponse](ctx, c.cc, board+"Accept", r)
}
