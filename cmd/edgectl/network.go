package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newNetwork(c *cli) *cobra.Command {
	return group("network", "Manage networks of tasks across boards",
		newNetworkCreate(c), newNetworkLs(c), newNetworkInspect(c), newNetworkRm(c), newNetworkCheck(c), newNetworkRotateKeys(c))
}

func newNetworkCreate(c *cli) *cobra.Command {
	var internal, ingress bool
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NAME",
		Short: "Make a network",
		Long: `Make a network. Tasks on it reach each other on any board, by address and by
name, and nobody else reaches them there.

The driver says how packets go from board to board. mesh encrypts them, by
WireGuard; it works across routers, and where one board is behind an address
translation. vxlan sends them in plain: whoever is on the boards' LAN can read
them, and change them.`,
		Example: "  edgectl network create back\n  edgectl network create --subnet 10.9.0.0/16 --internal db\n  edgectl network create --driver vxlan fast",
		Args:    needArgs(1, 1),
	}
	fs := cmd.Flags()
	driver := define(fs, "driver,d", flagvalue.Text, "driver", "mesh (default): encrypted; vxlan: in plain")
	subnet := define(fs, "subnet", flagvalue.Subnet, "prefix", "addresses of its tasks, such as 10.9.0.0/16 (default: a free part of "+api.DefaultNetworkPool.String()+")")
	labels := defineList(fs, "label", flagvalue.ParsePair, "key=value", "set a label")
	fs.BoolVar(&ingress, "ingress", false, "make it the network by which boards hand on what is sent to published ports")
	fs.BoolVar(&internal, "internal", false, "give tasks that are on no other network no way out of it")
	opts := defineList(fs, "opt,o", flagvalue.ParsePair, "option", "encrypted: as the default driver does anyway")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := encryptedOption(opts.Values, driver.Or("")); err != nil {
			return err
		}
		spec := api.NetworkSpec{
			Annotations: api.Annotations{Name: args[0], Labels: flagvalue.Map(labels.Values)},
			Driver:      api.NetworkDriver(driver.Or("")), Subnet: subnet.Or(netip.Prefix{}), Internal: internal, Ingress: ingress,
		}
		if err := spec.Defaults().Validate(); err != nil {
			return err
		}
		return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Network().CreateNetwork(ctx, &api.CreateNetworkRequest{Spec: spec})
			if err == nil {
				fmt.Fprintln(c.out, resp.Network.ID)
			}
			return err
		})(cmd, args)
	}
	return cmd
}

// encryptedOption takes Swarm's way to ask for encryption, and no other option.
func encryptedOption(opts []flagvalue.Pair, driver string) error {
	for _, o := range opts {
		if o.Key != "encrypted" || o.Value != "" && o.Value != "true" {
			return invalidf("--opt %s: there is none but encrypted, which is the default; the MTU follows the boards' links by itself", o.Key)
		}
		if driver == string(api.DriverVXLAN) {
			return invalidf("--opt encrypted: driver vxlan sends in plain; leave out --driver, and packets are encrypted")
		}
	}
	return nil
}

// networkRow is a line of `network ls`.
type networkRow struct{ ID, Name, Driver, Scope, Subnet, Internal, CreatedAt string }

var networkHeader = networkRow{"NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET", "INTERNAL", "CREATED"}

const networkTable = `{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}\t{{.Subnet}}`

func newNetworkLs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("id", "name", "driver", "label")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short:   "List the fleet's networks",
		Example: "  edgectl network ls\n  edgectl network ls --filter driver=vxlan",
		Args:    noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Network().ListNetworks(ctx, &api.ListNetworksRequest{})
			if err != nil {
				return err
			}
			var rows []networkRow
			at := now()
			for _, n := range resp.Networks {
				if f.begins("id", string(n.ID)) && f.begins("name", n.Spec.Name) && f.is("driver", string(n.Spec.Driver)) && f.labelled("label", n.Spec.Labels) {
					rows = append(rows, networkRow{
						l.id(string(n.ID)), n.Spec.Name, string(n.Spec.Driver), "swarm", n.Subnet.String(), strconv.FormatBool(n.Spec.Internal), output.Ago(at, n.CreatedAt),
					})
				}
			}
			return printRows(c, &l, networkTable, networkHeader, rows)
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func newNetworkInspect(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "inspect [OPTIONS] NETWORK...",
		Short:   "Show networks in full: which part of the subnet is which board's",
		Example: "  edgectl network inspect back\n  edgectl network inspect --format '{{.Subnet}}' back",
		Args:    needArgs(1, -1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var found []any
			var missing error
			for _, ref := range args {
				resp, err := node.Network().GetNetwork(ctx, &api.GetNetworkRequest{Network: ref})
				if err != nil {
					missing = errors.Join(missing, err)
					continue
				}
				found = append(found, resp.Network)
			}
			return errors.Join(output.Objects(c.out, format, found), missing)
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func newNetworkRm(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "rm NETWORK...", Aliases: []string{"remove"},
		Short:   "Remove networks that no service uses",
		Example: "  edgectl network rm back",
		Args:    needArgs(1, -1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var failed error
			for _, ref := range args {
				if _, err := node.Network().RemoveNetwork(ctx, &api.RemoveNetworkRequest{Network: ref}); err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				fmt.Fprintln(c.out, ref)
			}
			return failed
		}),
	}
}

func newNetworkRotateKeys(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-keys",
		Short: "Have all boards take new keys for encrypted networks",
		Long: `Have all boards take new keys for encrypted networks. Each makes its key by itself
and keeps it; the others are told its public half first, so that connections
stand. It takes about ten seconds; a board that is off does it when it is back.

Boards also do it by themselves, whenever their certificates are renewed (see
` + "`edgectl update --cert-expiry`" + `).`,
		Example: "  edgectl network rotate-keys",
		Args:    noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			_, err := node.Network().RotateKeys(ctx, &api.RotateKeysRequest{})
			return err
		}),
	}
}
