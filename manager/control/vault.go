package control

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

var _ api.VaultServer = (*Server)(nil)

// findNamed gives what a spec names its IDs: secrets, configs and networks.
func findNamed(v *store.View, op string, spec *api.ServiceSpec) error {
	if err := findData(v, op, spec); err != nil {
		return err
	}
	return findNetworks(v, op, spec)
}

// findData gives the secrets and configs that a spec names their IDs. One that
// names what is not there is refused.
func findData(v *store.View, op string, spec *api.ServiceSpec) error {
	container := &spec.TaskTemplate.ContainerSpec
	secrets, configs := slices.Clone(container.Secrets), slices.Clone(container.Configs)
	for i := range secrets {
		secret, err := findSecret(v, op, cmp.Or(string(secrets[i].SecretID), secrets[i].SecretName))
		if err != nil {
			return err
		}
		secrets[i].SecretID, secrets[i].SecretName = secret.ID, secret.Spec.Name
	}
	for i := range configs {
		config, err := findConfig(v, op, cmp.Or(string(configs[i].ConfigID), configs[i].ConfigName))
		if err != nil {
			return err
		}
		configs[i].ConfigID, configs[i].ConfigName = config.ID, config.Spec.Name
	}
	container.Secrets, container.Configs = secrets, configs
	return nil
}

func findSecret(v *store.View, op, ref string) (*api.Secret, error) {
	return find(v.Secrets, one(v.SecretByName(ref)), op, "secret", ref)
}

func findConfig(v *store.View, op, ref string) (*api.Config, error) {
	return find(v.Configs, one(v.ConfigByName(ref)), op, "config", ref)
}

// sealed is a secret as it is shown: without what it holds.
func sealed(s *api.Secret) *api.Secret {
	next := *s
	next.Spec.Data = nil
	return &next
}

func unread(c *api.Config) *api.Config {
	next := *c
	next.Spec.Data = nil
	return &next
}

// inUse refuses to remove what a service sees: for good while its spec names
// it, and for as long as they run where only tasks on their way out do. name is
// what people call the thing, noun what it is.
func inUse(v *store.View, op, noun, name string, sees func(api.TaskSpec) bool) error {
	specs, ending := map[string]bool{}, map[string]bool{}
	for s := range v.Services.All() {
		switch {
		case !sees(s.Spec.TaskTemplate):
		case s.PendingDelete:
			ending[s.Spec.Name] = true
		default:
			specs[s.Spec.Name] = true
		}
	}
	for t := range v.Tasks.All() {
		if t.Live() && sees(t.Spec) {
			ending[t.ServiceName] = true
		}
	}
	list := func(names map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(names)), ", ") }
	switch {
	case len(specs) > 0:
		return api.Errorf(api.Conflict, op, "%s %s is in use by %s; take it from them first with `edgectl service update --%s-rm %s`", noun, name, list(specs), noun, name)
	case len(ending) > 0: // whoever asks may ask again
		return api.Errorf(api.Unavailable, op, "%s %s is in use until the tasks of %s that see it have ended; try again then", noun, name, list(ending))
	default:
		return nil
	}
}

func (s *Server) createSecret(ctx context.Context, r *api.CreateSecretRequest) (*api.SecretResponse, error) {
	const op = "create secret"
	if err := invalid(op, r.Spec.ValidateData(api.MaxSecret)); err != nil {
		return nil, err
	}
	id := api.NewID[api.SecretID]()
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		if taken := tx.SecretByName(r.Spec.Name); taken != nil {
			return nil, api.Errorf(api.Conflict, op, "name %s is in use by secret %s; a secret never changes: make another and move the services to it", r.Spec.Name, api.ShortID(taken.ID))
		}
		secret := &api.Secret{ID: id, Spec: r.Spec}
		tx.Put(secret)
		return secret, nil
	})
	if err != nil {
		return nil, err
	}
	secret, ok := v.Secrets.Get(key)
	if !ok {
		return nil, api.Errorf(api.NotFound, op, "secret %s was made and has been removed since", key)
	}
	return &api.SecretResponse{Secret: sealed(secret)}, nil
}

func (s *Server) listSecrets(context.Context, *api.ListSecretsRequest) (*api.ListSecretsResponse, error) {
	resp := &api.ListSecretsResponse{}
	for secret := range s.cfg.Store.View().Secrets.All() {
		resp.Secrets = append(resp.Secrets, sealed(secret))
	}
	slices.SortFunc(resp.Secrets, func(a, b *api.Secret) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	return resp, nil
}

func (s *Server) getSecret(_ context.Context, r *api.GetSecretRequest) (*api.SecretResponse, error) {
	secret, err := findSecret(s.cfg.Store.View(), "get secret", r.Secret)
	if err != nil {
		return nil, err
	}
	return &api.SecretResponse{Secret: sealed(secret)}, nil
}

func (s *Server) removeSecret(ctx context.Context, r *api.RemoveSecretRequest) (*api.Empty, error) {
	const op = "remove secret"
	_, _, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		secret, err := findSecret(tx.View, op, r.Secret)
		if err != nil {
			return nil, err
		}
		if err := inUse(tx.View, op, "secret", secret.Spec.Name, func(t api.TaskSpec) bool {
			return slices.ContainsFunc(t.ContainerSpec.Secrets, func(ref api.SecretReference) bool { return ref.SecretID == secret.ID })
		}); err != nil {
			return nil, err
		}
		tx.Delete(secret)
		return secret, nil
	})
	return &api.Empty{}, err
}

func (s *Server) createConfig(ctx context.Context, r *api.CreateConfigRequest) (*api.ConfigResponse, error) {
	const op = "create config"
	if err := invalid(op, r.Spec.ValidateData(api.MaxConfig)); err != nil {
		return nil, err
	}
	id := api.NewID[api.ConfigID]()
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		if taken := tx.ConfigByName(r.Spec.Name); taken != nil {
			return nil, api.Errorf(api.Conflict, op, "name %s is in use by config %s; a config never changes: make another and move the services to it", r.Spec.Name, api.ShortID(taken.ID))
		}
		config := &api.Config{ID: id, Spec: r.Spec}
		tx.Put(config)
		return config, nil
	})
	if err != nil {
		return nil, err
	}
	config, ok := v.Configs.Get(key)
	if !ok {
		return nil, api.Errorf(api.NotFound, op, "config %s was made and has been removed since", key)
	}
	return &api.ConfigResponse{Config: config}, nil
}

func (s *Server) listConfigs(context.Context, *api.ListConfigsRequest) (*api.ListConfigsResponse, error) {
	resp := &api.ListConfigsResponse{}
	for config := range s.cfg.Store.View().Configs.All() {
		resp.Configs = append(resp.Configs, unread(config))
	}
	slices.SortFunc(resp.Configs, func(a, b *api.Config) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	return resp, nil
}

func (s *Server) getConfig(_ context.Context, r *api.GetConfigRequest) (*api.ConfigResponse, error) {
	config, err := findConfig(s.cfg.Store.View(), "get config", r.Config)
	if err != nil {
		return nil, err
	}
	return &api.ConfigResponse{Config: config}, nil
}

func (s *Server) removeConfig(ctx context.Context, r *api.RemoveConfigRequest) (*api.Empty, error) {
	const op = "remove config"
	_, _, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		config, err := findConfig(tx.View, op, r.Config)
		if err != nil {
			return nil, err
		}
		if err := inUse(tx.View, op, "config", config.Spec.Name, func(t api.TaskSpec) bool {
			return slices.ContainsFunc(t.ContainerSpec.Configs, func(ref api.ConfigReference) bool { return ref.ConfigID == config.ID })
		}); err != nil {
			return nil, err
		}
		tx.Delete(config)
		return config, nil
	})
	return &api.Empty{}, err
}

// CreateSecret implements api.VaultServer.
func (s *Server) CreateSecret(ctx context.Context, r *api.CreateSecretRequest) (*api.SecretResponse, error) {
	return call(s, ctx, r, s.createSecret)
}

// ListSecrets implements api.VaultServer.
func (s *Server) ListSecrets(ctx context.Context, r *api.ListSecretsRequest) (*api.ListSecretsResponse, error) {
	return call(s, ctx, r, s.listSecrets)
}

// GetSecret implements api.VaultServer.
func (s *Server) GetSecret(ctx context.Context, r *api.GetSecretRequest) (*api.SecretResponse, error) {
	return call(s, ctx, r, s.getSecret)
}

// RemoveSecret implements api.VaultServer.
func (s *Server) RemoveSecret(ctx context.Context, r *api.RemoveSecretRequest) (*api.Empty, error) {
	return call(s, ctx, r, s.removeSecret)
}

// CreateConfig implements api.VaultServer.
func (s *Server) CreateConfig(ctx context.Context, r *api.CreateConfigRequest) (*api.ConfigResponse, error) {
	return call(s, ctx, r, s.createConfig)
}

// ListConfigs implements api.VaultServer.
func (s *Server) ListConfigs(ctx context.Context, r *api.ListConfigsRequest) (*api.ListConfigsResponse, error) {
	return call(s, ctx, r, s.listConfigs)
}

// GetConfig implements api.VaultServer.
func (s *Server) GetConfig(ctx context.Context, r *api.GetConfigRequest) (*api.ConfigResponse, error) {
	return call(s, ctx, r, s.getConfig)
}

// RemoveConfig implements api.VaultServer.
func (s *Server) RemoveConfig(ctx context.Context, r *api.RemoveConfigRequest) (*api.Empty, error) {
	return call(s, ctx, r, s.removeConfig)
}
