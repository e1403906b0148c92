package quic

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// serverTLS asks for a certificate and leaves the judgement to meet, after the
// handshake, when the peer can be told the reason.
func (e *Endpoint) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			protocols := e.listening()
			if len(protocols) == 0 {
				return nil, errors.New("nothing is listened for yet")
			}
			return &tls.Config{
				MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
				Certificates: []tls.Certificate{*e.cfg.Identity.Certificate()},
				NextProtos:   protocols, ClientAuth: tls.RequireAnyClientCert,
			}, nil
		},
	}
}

// clientTLS checks the acceptor within the handshake, before it learns who we
// are. want is "" on Join, where nothing is checked but that it has a key.
func (e *Endpoint) clientTLS(p transport.Protocol, want api.NodeID, seen *error) *tls.Config {
	cert := e.cfg.Identity.Certificate()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		ServerName: e.instance, NextProtos: []string{string(p)},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
		InsecureSkipVerify:   true, // the name is a node's ID and the time is the fleet's: Identity verifies
		VerifyConnection: func(state tls.ConnectionState) error {
			*seen = e.checkAcceptor(state, p, want)
			return *seen
		},
	}
}

func (e *Endpoint) checkAcceptor(state tls.ConnectionState, p transport.Protocol, want api.NodeID) error {
	peer, err := e.identify(state, p)
	if err != nil {
		return err
	}
	if p != transport.Join && peer.ID != want {
		return fmt.Errorf("node %s answered there, not %s", api.ShortID(peer.ID), api.ShortID(want))
	}
	return nil
}

// identify answers who is at the other end; its address is left to the caller.
func (e *Endpoint) identify(state tls.ConnectionState, p transport.Protocol) (transport.Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return transport.Peer{}, errors.New("no certificate was shown")
	}
	leaf := state.PeerCertificates[0]
	peer := transport.Peer{Key: leaf.RawSubjectPublicKeyInfo}
	for _, c := range state.PeerCertificates {
		peer.Chain = append(peer.Chain, c.Raw)
	}
	if p == transport.Join {
		peer.ID, peer.Fleet = claims(leaf)
		return peer, nil
	}
	var err error
	peer.ID, peer.Fleet, err = e.cfg.Identity.Verify(peer.Chain)
	return peer, err
}

func claims(leaf *x509.Certificate) (node api.NodeID, fleet api.FleetID) {
	if len(leaf.Subject.Organization) == 1 {
		fleet = api.FleetID(leaf.Subject.Organization[0])
	}
	return api.NodeID(leaf.Subject.CommonName), fleet
}

// ownFleet is the fleet of our present certificate, "" for a self-made one.
func (e *Endpoint) ownFleet() api.FleetID {
	cert := e.cfg.Identity.Certificate()
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return ""
		}
	}
	_, fleet := claims(leaf)
	return fleet
}
