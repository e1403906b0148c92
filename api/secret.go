package api

import (
	"context"
	"path"
	"regexp"

	"google.golang.org/grpc"
)

type (
	// SecretID names a secret.
	SecretID string
	// ConfigID names a config.
	ConfigID string
)

// The most that a secret and a config may hold, in bytes, as in Docker.
const (
	MaxSecret = 500 * 1000
	MaxConfig = 1000 * 1000
)

// Secret is a file that tasks see and nobody else: it is kept by managers, sent
// to nodes that run a task which names it, sealed on their disks, and in the
// clear only in their memory. It never changes: a service is moved to another.
type Secret struct {
	ID SecretID
	Meta
	Spec DataSpec
}

// Config is a file that tasks see. It never changes.
type Config struct {
	ID ConfigID
	Meta
	Spec DataSpec
}

// DataSpec is what a secret or a config is made with.
type DataSpec struct {
	Annotations
	Data []byte `json:",omitempty"`
}

// SecretReference gives a task a secret.
type SecretReference struct {
	SecretID   SecretID
	SecretName string
	// File under /run/secrets, or anywhere if its name is absolute.
	File FileTarget
}

// ConfigReference gives a task a config.
type ConfigReference struct {
	ConfigID   ConfigID
	ConfigName string
	// File in the root folder, or anywhere if its name is absolute.
	File FileTarget
}

// FileTarget is how a secret or config appears to a task.
type FileTarget struct {
	Name string // path; "" is the name of what it holds
	UID  uint32
	GID  uint32
	Mode *uint32 `json:",omitempty"` // permission bits; nil is 0444
}

// Key returns the secret's ID.
func (s *Secret) Key() string { return string(s.ID) }

// Head returns the object's metadata.
func (s *Secret) Head() *Meta { return &s.Meta }

// Key returns the config's ID.
func (c *Config) Key() string { return string(c.ID) }

// Head returns the object's metadata.
func (c *Config) Head() *Meta { return &c.Meta }

// path completes a target's name.
func (t FileTarget) path(folder, name string) string {
	if t.Name != "" {
		name = t.Name
	}
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(folder, name)
}

// Permissions are the file's, 0444 unless they are given.
func (t FileTarget) Permissions() uint32 {
	if t.Mode == nil {
		return 0o444
	}
	return *t.Mode
}

var dataName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-_.]{0,62}[a-zA-Z0-9])?$`)

// ValidateData reports what is wrong with a secret or config to be: the error
// is Invalid and names the field. most is the size allowed, in bytes.
func (s DataSpec) ValidateData(most int) error {
	switch {
	case !dataName.MatchString(s.Name):
		return Errorf(Invalid, "", "name %q: use 1 to 64 letters, digits, hyphens, dots and underscores, with a letter or digit at either end", s.Name)
	case len(s.Data) == 0:
		return Errorf(Invalid, "", "data: it is empty; give at least one byte")
	case len(s.Data) > most:
		return Errorf(Invalid, "", "data: %d bytes are too many, %d is the most; put larger files into an image or a volume", len(s.Data), most)
	default:
		return nil
	}
}

type (
	// CreateSecretRequest adds a secret.
	CreateSecretRequest struct {
		RequestID RequestID
		Spec      DataSpec
	}
	// SecretResponse is a secret, without its data.
	SecretResponse struct{ Secret *Secret }
	// ListSecretsRequest asks for all secrets.
	ListSecretsRequest struct{}
	// ListSecretsResponse has them in order of name, without their data.
	ListSecretsResponse struct{ Secrets []*Secret }
	// GetSecretRequest names a secret.
	GetSecretRequest struct{ Secret string }
	// RemoveSecretRequest names a secret that no service uses.
	RemoveSecretRequest struct {
		RequestID RequestID
		Secret    string
	}

	// CreateConfigRequest adds a config.
	CreateConfigRequest struct {
		RequestID RequestID
		Spec      DataSpec
	}
	// ConfigResponse is a config.
	ConfigResponse struct{ Config *Config }
	// ListConfigsRequest asks for all configs.
	ListConfigsRequest struct{}
	// ListConfigsResponse has them in order of name, without their data.
	ListConfigsResponse struct{ Configs []*Config }
	// GetConfigRequest names a config.
	GetConfigRequest struct{ Config string }
	// RemoveConfigRequest names a config that no service uses.
	RemoveConfigRequest struct {
		RequestID RequestID
		Config    string
	}
)

// VaultServer keeps the fleet's secrets and configs. The leader answers, as for
// ControlServer, whose rules hold.
type VaultServer interface {
	CreateSecret(context.Context, *CreateSecretRequest) (*SecretResponse, error)
	ListSecrets(context.Context, *ListSecretsRequest) (*ListSecretsResponse, error)
	GetSecret(context.Context, *GetSecretRequest) (*SecretResponse, error)
	// RemoveSecret is Conflict, naming the services, while any uses it.
	RemoveSecret(context.Context, *RemoveSecretRequest) (*Empty, error)

	CreateConfig(context.Context, *CreateConfigRequest) (*ConfigResponse, error)
	ListConfigs(context.Context, *ListConfigsRequest) (*ListConfigsResponse, error)
	GetConfig(context.Context, *GetConfigRequest) (*ConfigResponse, error)
	// RemoveConfig is Conflict, naming the services, while any uses it.
	RemoveConfig(context.Context, *RemoveConfigRequest) (*Empty, error)
}

const vaultService = "edge.v1.Vault"

// VaultDesc is the service's wire definition.
var VaultDesc = grpc.ServiceDesc{
	ServiceName: vaultService, HandlerType: (*VaultServer)(nil),
	Methods: []grpc.MethodDesc{
		unary("CreateSecret", VaultServer.CreateSecret),
		unary("ListSecrets", VaultServer.ListSecrets),
		unary("GetSecret", VaultServer.GetSecret),
		unary("RemoveSecret", VaultServer.RemoveSecret),
		unary("CreateConfig", VaultServer.CreateConfig),
		unary("ListConfigs", VaultServer.ListConfigs),
		unary("GetConfig", VaultServer.GetConfig),
		unary("RemoveConfig", VaultServer.RemoveConfig),
	},
}

// VaultClient speaks Vault over a connection made with DialOptions.
type VaultClient struct{ cc grpc.ClientConnInterface }

// NewVaultClient wraps a connection; the caller keeps it and closes it.
func NewVaultClient(cc grpc.ClientConnInterface) *VaultClient { return &VaultClient{cc} }

const vault = "/" + vaultService + "/"

// CreateSecret calls VaultServer.CreateSecret.
func (c *VaultClient) CreateSecret(ctx context.Context, r *CreateSecretRequest) (*SecretResponse, error) {
	return invoke[SecretResponse](ctx, c.cc, vault+"CreateSecret", r)
}

// ListSecrets calls VaultServer.ListSecrets.
func (c *VaultClient) ListSecrets(ctx context.Context, r *ListSecretsRequest) (*ListSecretsResponse, error) {
	return invoke[ListSecretsResponse](ctx, c.cc, vault+"ListSecrets", r)
}

// GetSecret calls VaultServer.GetSecret.
func (c *VaultClient) GetSecret(ctx context.Context, r *GetSecretRequest) (*SecretResponse, error) {
	return invoke[SecretResponse](ctx, c.cc, vault+"GetSecret", r)
}

// RemoveSecret calls VaultServer.RemoveSecret.
func (c *VaultClient) RemoveSecret(ctx context.Context, r *RemoveSecretRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, vault+"RemoveSecret", r)
}

// CreateConfig calls VaultServer.CreateConfig.
func (c *VaultClient) CreateConfig(ctx context.Context, r *CreateConfigRequest) (*ConfigResponse, error) {
	return invoke[ConfigResponse](ctx, c.cc, vault+"CreateConfig", r)
}

// ListConfigs calls VaultServer.ListConfigs.
func (c *VaultClient) ListConfigs(ctx context.Context, r *ListConfigsRequest) (*ListConfigsResponse, error) {
	return invoke[ListConfigsResponse](ctx, c.cc, vault+"ListConfigs", r)
}

// GetConfig calls VaultServer.GetConfig.
func (c *VaultClient) GetConfig(ctx context.Context, r *GetConfigRequest) (*ConfigResponse, error) {
	return invoke[ConfigResponse](ctx, c.cc, vault+"GetConfig", r)
}

// RemoveConfig calls VaultServer.RemoveConfig.
func (c *VaultClient) RemoveConfig(ctx context.Context, r *RemoveConfigRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, vault+"RemoveConfig", r)
}
