package dispatch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
)

// board is a fresh board with a key of its own.
func board(t *testing.T) (api.NodeID, []byte) {
	t.Helper()
	k, err := identity.Open(identity.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	csr, err := k.CSR()
	if err != nil {
		t.Fatal(err)
	}
	return k.Node(), csr
}

func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("w", "worker"))
		defer b.stop(t)
		id, csr := board(t)
		manager, worker := managertest.As(t.Context(), "a"), managertest.As(t.Context(), "w")
		ask := &api.AdmitRequest{Node: id, CSR: csr, Role: api.RoleAuto, Description: managertest.Description("new")}

		if _, err := b.server.Admit(worker, ask); api.KindOf(err) != api.Denied {
			t.Errorf("a worker's word counted: %v", err)
		}
		bad := *ask
		bad.CSR = []byte("garbage")
		if _, err := b.server.Admit(manager, &bad); api.KindOf(err) != api.Invalid || b.View().Node(id) != nil {
			t.Errorf("garbage was answered %v", err)
		}
		resp, err := b.server.Admit(manager, ask)
		if err != nil {
			t.Fatal(err)
		}
		node := b.View().Node(id)
		if node == nil || node.Spec.Role != api.RoleAuto || node.Status.State != api.NodeUnknown || node.Name() != "new" {
			t.Fatalf("the new member is %+v", node)
		}
		if resp.Fleet.ID != b.View().Cluster().ID || len(resp.Peers) != 2 || !resp.Peers[0].Manager || resp.Peers[0].ID != "a" {
			t.Errorf("it was told %+v", resp)
		}
		if got := lifetime(t, resp.Credentials.CertPEM); got != defaultCertExpiry {
			t.Errorf("its certificate lasts %v", got)
		}
		// Again, with the same key: answered anew, nothing written.
		before := b.Log.Commits()
		if _, err := b.server.Admit(manager, ask); err != nil || b.Log.Commits() != before {
			t.Errorf("admitted again: %v, %d commits", err, b.Log.Commits()-before)
		}
		// A certificate that ran out is renewed by the key, of members only.
		renew := api.AdmitRequest{Node: id, CSR: csr, Renewal: true}
		if _, err := b.server.Admit(manager, &renew); err != nil || b.Log.Commits() != before {
			t.Errorf("certified anew: %v", err)
		}
		renew.Node, renew.CSR = board(t)
		if _, err := b.server.Admit(manager, &renew); api.KindOf(err) != api.NotFound || b.View().Node(renew.Node) != nil {
			t.Errorf("a removed board was certified anew: %v", err)
		}
		forged := *ask
		forged.CSR = request(t, id)
		if _, err := b.server.Admit(manager, &forged); api.KindOf(err) != api.Denied {
			t.Errorf("a member's ID with another key: %v", err)
		}
		// Another board that claims the ID.
		other := *ask
		_, other.CSR = board(t)
		if _, err := b.server.Admit(manager, &other); api.KindOf(err) != api.Invalid {
			t.Errorf("another's request for the same ID: %v", err)
		}

		renewed, err := b.server.RenewCertificate(managertest.As(t.Context(), id), &api.RenewRequest{CSR: csr})
		if err != nil || len(renewed.CertPEM) == 0 {
			t.Errorf("renew: %v", err)
		}
		if _, err := b.server.RenewCertificate(managertest.As(t.Context(), "stranger"), &api.RenewRequest{CSR: csr}); api.KindOf(err) != api.Denied {
			t.Errorf("a stranger's renewal: %v", err)
		}
		if _, err := b.server.RenewCertificate(worker, &api.RenewRequest{CSR: csr}); api.KindOf(err) != api.Invalid {
			t.Errorf("a renewal for another: %v", err)
		}
	})
}

// request asks for a certificate in a node's name, with a key made up for it.
func request(t *testing.T, id api.NodeID) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(id)}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func lifetime(t *testing.T, certPEM []byte) time.Duration {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert.NotAfter.Sub(cert.NotBefore) - identity.Backdate
}

func TestDepart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("m", "manager"), managertest.Node("w", "worker"))
		defer b.stop(t)
		depart := func(id api.NodeID, force bool) error {
			_, err := b.server.Depart(managertest.As(t.Context(), id), &api.DepartRequest{Force: force})
			return err
		}
		if err := depart("w", false); err != nil || b.View().Node("w") != nil {
			t.Errorf("a worker can't leave: %v", err)
		}
		if err := depart("a", true); api.KindOf(err) != api.Conflict {
			t.Errorf("the only manager left others behind: %v", err)
		}
		b.raft.Set(consensus.Server{ID: "m", Voter: true, Reachable: true})
		if err := depart("m", false); api.KindOf(err) != api.Conflict || b.View().Node("m") == nil {
			t.Errorf("a manager left without force: %v", err)
		}
		if err := depart("m", true); err != nil || b.View().Node("m") != nil {
			t.Errorf("a manager can't leave: %v", err)
		}
		if servers, _ := b.raft.Servers(); len(servers) != 1 {
			t.Errorf("it left raft as %+v", servers)
		}
		if err := depart("m", true); api.KindOf(err) != api.Denied {
			t.Errorf("it left twice: %v", err)
		}
	})
}
