package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// serviceRow is a line of `service ls`, in Docker's names.
type serviceRow struct{ ID, Name, Mode, Replicas, Image, Ports string }

var serviceHeader = serviceRow{"ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"}

const serviceTable = `{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}`

func newServiceLs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("id", "name", "label", "mode")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short: "List the services, and how many of their tasks run",
		Example: `  edgectl service ls
  edgectl service ls --filter name=web --format '{{.Replicas}}'`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Control().ListServices(ctx, &api.ListServicesRequest{})
			if err != nil {
				return err
			}
			var rows []serviceRow
			for _, s := range resp.Services {
				spec := s.Service.Spec
				if f.begins("id", string(s.Service.ID)) && f.begins("name", spec.Name) && f.labelled("label", spec.Labels) && f.is("mode", strings.ReplaceAll(modeOf(s.Service), " ", "-")) {
					rows = append(rows, newServiceRow(s, &l))
				}
			}
			return printRows(c, &l, serviceTable, serviceHeader, rows)
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func newServiceRow(s api.ServiceSummary, l *listFlags) serviceRow {
	image := s.Service.Spec.TaskTemplate.ContainerSpec.Image
	if !l.noTrunc {
		image = imageName(image)
	}
	replicas := fmt.Sprintf("%d/%d", s.Running, s.Desired)
	if s.Service.Spec.Mode.Job() {
		replicas += fmt.Sprintf(" (%d/%d completed)", s.Completed, s.Total)
	}
	if p := s.Service.Spec.TaskTemplate.Placement; p != nil && p.MaxReplicas > 0 {
		replicas += fmt.Sprintf(" (max %d per node)", p.MaxReplicas)
	}
	return serviceRow{
		ID: l.id(string(s.Service.ID)), Name: s.Service.Spec.Name, Mode: modeOf(s.Service),
		Replicas: replicas, Image: image, Ports: portsOf(s.Service),
	}
}

func portsOf(s *api.Service) string {
	if s.Spec.EndpointSpec == nil {
		return ""
	}
	return portList(s.Spec.EndpointSpec.Ports)
}

// portList writes ports as Docker does; one that the scheduler picks for each
// task has no number yet.
func portList(ports []api.PortConfig) string {
	var texts []string
	for _, p := range ports {
		published := fmt.Sprint(p.PublishedPort)
		if p.PublishedPort == 0 {
			published = "?"
		}
		address := "*"
		if p.Address.IsSingleIP() {
			address = p.Address.Addr().String()
		} else if p.Address.IsValid() {
			address = p.Address.String()
		}
		texts = append(texts, fmt.Sprintf("%s:%s->%d/%s", address, published, p.TargetPort, p.Protocol))
	}
	return strings.Join(texts, ", ")
}

func newServiceInspect(c *cli) *cobra.Command {
	var format string
	var pretty bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] SERVICE...",
		Short: "Show all about services",
		Example: `  edgectl service inspect web
  edgectl service inspect --pretty web
  edgectl service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' web`,
		Args: needArgs(1, -1), ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var found []*api.Service
			err := each(args, func(arg string) error {
				resp, err := node.Control().GetService(ctx, &api.GetServiceRequest{Service: arg})
				if err == nil {
					found = append(found, resp.Service)
				}
				return err
			})
			if pretty && format == "" {
				for _, s := range found {
					prettyService(c.out, s)
				}
				return err
			}
			if perr := output.Objects(c.out, format, found); perr != nil {
				return perr
			}
			return err
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "print for people")
	return cmd
}
