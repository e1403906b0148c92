package control

import (
	"slices"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func data(name, content string) api.DataSpec {
	return api.DataSpec{Annotations: api.Annotations{Name: name}, Data: []byte(content)}
}

func TestSecretsAreKeptAndNeverShown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		made, err := b.server.CreateSecret(b.ctx, &api.CreateSecretRequest{RequestID: "r1", Spec: data("pw", "hunter2")})
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.server.CreateSecret(b.ctx, &api.CreateSecretRequest{RequestID: "r1", Spec: data("pw", "hunter2")})
		if err != nil || again.Secret.ID != made.Secret.ID {
			t.Errorf("a retry made %v, %v", again, err)
		}
		got, err := b.server.GetSecret(b.ctx, &api.GetSecretRequest{Secret: "pw"})
		if err != nil {
			t.Fatal(err)
		}
		list, err := b.server.ListSecrets(b.ctx, &api.ListSecretsRequest{})
		if err != nil || len(list.Secrets) != 1 {
			t.Fatalf("%d secrets, %v", len(list.Secrets), err)
		}
		for _, s := range []*api.Secret{made.Secret, again.Secret, got.Secret, list.Secrets[0]} {
			if len(s.Spec.Data) != 0 {
				t.Error("a secret is shown")
			}
		}
		if kept := b.View().SecretByName("pw"); kept == nil || string(kept.Spec.Data) != "hunter2" {
			t.Errorf("kept %+v", kept)
		}
	})
}

func TestBadSecretsAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		if _, err := b.server.CreateSecret(b.ctx, &api.CreateSecretRequest{Spec: data("pw", "x")}); err != nil {
			t.Fatal(err)
		}
		before := b.View().Index
		for name, c := range map[string]struct {
			spec api.DataSpec
			kind api.Kind
		}{
			"taken": {data("pw", "y"), api.Conflict}, "empty": {data("a", ""), api.Invalid}, "no name": {data("", "x"), api.Invalid},
			"bad name": {data("a/b", "x"), api.Invalid}, "too large": {data("a", strings.Repeat("x", api.MaxSecret+1)), api.Invalid},
		} {
			if _, err := b.server.CreateSecret(b.ctx, &api.CreateSecretRequest{Spec: c.spec}); api.KindOf(err) != c.kind {
				t.Errorf("%s: %v", name, err)
			}
		}
		if b.View().Index != before {
			t.Error("a refusal changed the state")
		}
	})
}

func TestASecretInUseStays(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		for _, name := range []string{"old", "new"} {
			if _, err := b.server.CreateSecret(b.ctx, &api.CreateSecretRequest{Spec: data(name, name)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.server.CreateConfig(b.ctx, &api.CreateConfigRequest{Spec: data("conf", "x=1")}); err != nil {
			t.Fatal(err)
		}
		s := spec("db", "web:1", 1)
		s.TaskTemplate.ContainerSpec.Secrets = []api.SecretReference{{SecretName: "old"}}
		s.TaskTemplate.ContainerSpec.Configs = []api.ConfigReference{{ConfigName: "conf"}}
		made, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: s})
		if err != nil {
			t.Fatal(err)
		}
		container := made.Service.Spec.TaskTemplate.ContainerSpec
		if container.Secrets[0].SecretID != b.View().SecretByName("old").ID || container.Configs[0].ConfigID != b.View().ConfigByName("conf").ID {
			t.Errorf("references are %+v and %+v", container.Secrets, container.Configs)
		}
		for _, remove := range []func() error{
			func() error {
				_, err := b.server.RemoveSecret(b.ctx, &api.RemoveSecretRequest{Secret: "old"})
				return err
			},
			func() error {
				_, err := b.server.RemoveConfig(b.ctx, &api.RemoveConfigRequest{Config: "conf"})
				return err
			},
		} {
			if err := remove(); api.KindOf(err) != api.Conflict || !strings.Contains(err.Error(), "in use by db") {
				t.Errorf("removed while in use: %v", err)
			}
		}
		// Moved to the other, the old one may go; a rollback to it is refused then.
		patch := api.ServicePatch{SecretAdd: []api.SecretReference{{SecretName: "new"}}, SecretRemove: []string{"old"}}
		if _, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{Service: "db", Patch: patch}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.server.RemoveSecret(b.ctx, &api.RemoveSecretRequest{Secret: "old"}); err != nil {
			t.Error(err)
		}
		if _, err := b.server.RollbackService(b.ctx, &api.RollbackServiceRequest{Service: "db"}); api.KindOf(err) != api.NotFound {
			t.Errorf("rolled back to a secret that is gone: %v", err)
		}
	})
}

func TestASecretOfAServiceOnItsWayOutMayGoSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		if _, err := b.server.CreateSecret(b.ctx, &api.CreateSecretRequest{Spec: data("old", "old")}); err != nil {
			t.Fatal(err)
		}
		s := spec("db", "web:1", 1)
		s.TaskTemplate.ContainerSpec.Secrets = []api.SecretReference{{SecretName: "old"}}
		if _, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: s}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.server.RemoveService(b.ctx, &api.RemoveServiceRequest{Service: "db"}); err != nil {
			t.Fatal(err)
		}
		// Unavailable is what clients ask again for.
		if _, err := b.server.RemoveSecret(b.ctx, &api.RemoveSecretRequest{Secret: "old"}); api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "tasks of db") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAServiceNamesOnlySecretsThatAreThere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := spec("db", "nowhere:1", 1)
		s.TaskTemplate.ContainerSpec.Secrets = []api.SecretReference{{SecretName: "nope"}}
		if _, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: s}); api.KindOf(err) != api.NotFound || b.images.pulls > 0 {
			t.Errorf("%v, after %d pulls", err, b.images.pulls)
		}
		if len(slices.Collect(b.View().Services.All())) > 0 {
			t.Error("a service was made")
		}
	})
}
