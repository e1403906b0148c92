package image

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// hosts are where a registry's images are asked for: at its mirror first, if
// one is set, and then at itself. What a mirror gives is verified like all.
func (s *Store) hosts() docker.RegistryHosts {
	itself := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
	return func(registry string) ([]docker.RegistryHost, error) {
		all, err := itself(registry)
		mirror := s.cfg.Mirrors[registry]
		if err != nil || mirror == "" {
			return all, err
		}
		u, err := url.Parse(mirror)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("the mirror of %s, %q, is no URL", registry, mirror)
		}
		first := all[0]
		first.Scheme, first.Host, first.Path = u.Scheme, u.Host, strings.TrimSuffix(u.Path, "/")+"/v2"
		first.Capabilities = docker.HostCapabilityPull | docker.HostCapabilityResolve
		return append([]docker.RegistryHost{first}, all...), nil
	}
}
