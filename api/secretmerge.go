package api

import "slices"

// mergeData changes which secrets and configs a container sees. A removal may
// name or identify.
func mergeData(c *ContainerSpec, patch ServicePatch) {
	secrets := slices.DeleteFunc(slices.Clone(c.Secrets), func(r SecretReference) bool {
		return slices.Contains(patch.SecretRemove, r.SecretName) || slices.Contains(patch.SecretRemove, string(r.SecretID))
	})
	c.Secrets = mergeList(secrets, patch.SecretAdd, []string(nil), func(r SecretReference) string { return r.SecretName }, func(s string) string { return s })
	configs := slices.DeleteFunc(slices.Clone(c.Configs), func(r ConfigReference) bool {
		return slices.Contains(patch.ConfigRemove, r.ConfigName) || slices.Contains(patch.ConfigRemove, string(r.ConfigID))
	})
	c.Configs = mergeList(configs, patch.ConfigAdd, []string(nil), func(r ConfigReference) string { return r.ConfigName }, func(s string) string { return s })
}

// SecretFolder is where secrets appear whose file is not an absolute path.
const SecretFolder = "/run/secrets"

// Path is where a task sees the secret.
func (r SecretReference) Path() string { return r.File.path(SecretFolder, r.SecretName) }

// Path is where a task sees the config.
func (r ConfigReference) Path() string { return r.File.path("/", r.ConfigName) }
