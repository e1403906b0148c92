package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// dataNoun is what the commands of secrets and of configs differ in.
type dataNoun struct {
	noun, short string
	shown       string // of inspect
	most        int    // bytes
	create      func(context.Context, *api.VaultClient, api.DataSpec) (id string, err error)
	list        func(context.Context, *api.VaultClient) ([]dataObject, error)
	get         func(ctx context.Context, v *api.VaultClient, ref string) (any, error)
	remove      func(ctx context.Context, v *api.VaultClient, ref string) error
}

// dataObject is a secret or config as a list shows it.
type dataObject struct {
	id   string
	meta api.Meta
	spec api.DataSpec
}

func newSecret(c *cli) *cobra.Command {
	return newData(c, dataNoun{
		noun: "secret", short: "Keep secrets for tasks", shown: "Show secrets, but not what they hold", most: api.MaxSecret,
		create: func(ctx context.Context, v *api.VaultClient, spec api.DataSpec) (string, error) {
			resp, err := v.CreateSecret(ctx, &api.CreateSecretRequest{Spec: spec})
			if err != nil {
				return "", err
			}
			return string(resp.Secret.ID), nil
		},
		list: func(ctx context.Context, v *api.VaultClient) (all []dataObject, err error) {
			resp, err := v.ListSecrets(ctx, &api.ListSecretsRequest{})
			if err != nil {
				return nil, err
			}
			for _, s := range resp.Secrets {
				all = append(all, dataObject{string(s.ID), s.Meta, s.Spec})
			}
			return all, nil
		},
		get: func(ctx context.Context, v *api.VaultClient, ref string) (any, error) {
			resp, err := v.GetSecret(ctx, &api.GetSecretRequest{Secret: ref})
			if err != nil {
				return nil, err
			}
			return resp.Secret, nil
		},
		remove: func(ctx context.Context, v *api.VaultClient, ref string) error {
			_, err := v.RemoveSecret(ctx, &api.RemoveSecretRequest{Secret: ref})
			return err
		},
	})
}

func newConfig(c *cli) *cobra.Command {
	return newData(c, dataNoun{
		noun: "config", short: "Keep files for tasks", shown: "Show configs with what they hold, in base64", most: api.MaxConfig,
		create: func(ctx context.Context, v *api.VaultClient, spec api.DataSpec) (string, error) {
			resp, err := v.CreateConfig(ctx, &api.CreateConfigRequest{Spec: spec})
			if err != nil {
				return "", err
			}
			return string(resp.Config.ID), nil
		},
		list: func(ctx context.Context, v *api.VaultClient) (all []dataObject, err error) {
			resp, err := v.ListConfigs(ctx, &api.ListConfigsRequest{})
			if err != nil {
				return nil, err
			}
			for _, s := range resp.Configs {
				all = append(all, dataObject{string(s.ID), s.Meta, s.Spec})
			}
			return all, nil
		},
		get: func(ctx context.Context, v *api.VaultClient, ref string) (any, error) {
			resp, err := v.GetConfig(ctx, &api.GetConfigRequest{Config: ref})
			if err != nil {
				return nil, err
			}
			return resp.Config, nil
		},
		remove: func(ctx context.Context, v *api.VaultClient, ref string) error {
			_, err := v.RemoveConfig(ctx, &api.RemoveConfigRequest{Config: ref})
			return err
		},
	})
}

func newData(c *cli, n dataNoun) *cobra.Command {
	return group(n.noun, n.short, newDataCreate(c, n), newDataLs(c, n), newDataInspect(c, n), newDataRm(c, n))
}

func newDataCreate(c *cli, n dataNoun) *cobra.Command {
	var labels *flagvalue.List[flagvalue.Pair]
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NAME [FILE|-]",
		Short: fmt.Sprintf("Make a %s from a file or standard input", n.noun),
		Long: fmt.Sprintf(`Make a %s from a file or standard input, of at most %d bytes. It never
changes: to change what tasks see, make another and move the services to it
with edgectl service update --%[1]s-rm OLD --%[1]s-add source=NEW,target=….`, n.noun, n.most),
		Example: fmt.Sprintf("  edgectl %[1]s create db-password password.txt\n  openssl rand -hex 32 | edgectl %[1]s create token", n.noun),
		Args:    needArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 2 {
				path = args[1]
			}
			data, err := c.readData(path, n.most)
			if err != nil {
				return err
			}
			spec := api.DataSpec{Annotations: api.Annotations{Name: args[0], Labels: flagvalue.Map(labels.Values)}, Data: data}
			if err := spec.ValidateData(n.most); err != nil {
				return err
			}
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
				id, err := n.create(ctx, node.Vault(), spec)
				if err == nil {
					fmt.Fprintln(c.out, id)
				}
				return err
			})(cmd, args)
		},
	}
	labels = defineList(cmd.Flags(), "label,l", flagvalue.ParsePair, "key=value", "set a label")
	return cmd
}

// readData reads a file, or standard input for "-", and no more than may be kept.
func (c *cli) readData(path string, most int) ([]byte, error) {
	from := c.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, invalidf("%w: name a file that can be read", err)
		}
		defer f.Close()
		from = f
	} else if terminal(c.in) != nil {
		return nil, invalidf("standard input is a terminal: name a file, or pipe one in")
	}
	data, err := io.ReadAll(io.LimitReader(from, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// dataRow is a line of `secret ls` and `config ls`.
type dataRow struct{ ID, Name, CreatedAt, UpdatedAt string }

var dataHeader = dataRow{"ID", "NAME", "CREATED", "UPDATED"}

const dataTable = `{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}`

func newDataLs(c *cli, n dataNoun) *cobra.Command {
	var l listFlags
	f := newFilter("id", "name", "label")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short:   fmt.Sprintf("List the fleet's %ss", n.noun),
		Example: fmt.Sprintf("  edgectl %[1]s ls\n  edgectl %[1]s ls --filter name=db", n.noun),
		Args:    noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			all, err := n.list(ctx, node.Vault())
			if err != nil {
				return err
			}
			var rows []dataRow
			at := now()
			for _, o := range all {
				if f.begins("id", o.id) && f.begins("name", o.spec.Name) && f.labelled("label", o.spec.Labels) {
					rows = append(rows, dataRow{l.id(o.id), o.spec.Name, output.Ago(at, o.meta.CreatedAt), output.Ago(at, o.meta.UpdatedAt)})
				}
			}
			return printRows(c, &l, dataTable, dataHeader, rows)
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func newDataInspect(c *cli, n dataNoun) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     fmt.Sprintf("inspect [OPTIONS] %s...", strings.ToUpper(n.noun)),
		Short:   n.shown,
		Example: fmt.Sprintf("  edgectl %[1]s inspect db-password\n  edgectl %[1]s inspect --format '{{.ID}}' db-password", n.noun),
		Args:    needArgs(1, -1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var found []any
			var missing error
			for _, ref := range args {
				obj, err := n.get(ctx, node.Vault(), ref)
				if err != nil {
					missing = errors.Join(missing, err)
					continue
				}
				found = append(found, obj)
			}
			return errors.Join(output.Objects(c.out, format, found), missing)
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func newDataRm(c *cli, n dataNoun) *cobra.Command {
	return &cobra.Command{
		Use: fmt.Sprintf("rm %s...", strings.ToUpper(n.noun)), Aliases: []string{"remove"},
		Short:   fmt.Sprintf("Remove %ss that no service uses", n.noun),
		Example: fmt.Sprintf("  edgectl %[1]s rm db-password-old", n.noun),
		Args:    needArgs(1, -1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var failed error
			for _, ref := range args {
				if err := n.remove(ctx, node.Vault(), ref); err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				fmt.Fprintln(c.out, ref)
			}
			return failed
		}),
	}
}
