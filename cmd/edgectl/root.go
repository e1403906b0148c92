package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edgeswarm/edgeswarm/client"
)

// cli is what the commands share: the streams, and which node they speak to.
type cli struct {
	streams
	host string
}

// newRoot builds the whole tree of commands.
func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "edgectl",
		Short: "Steer a fleet of small boards that run containers as one system",
		Long: `Steer a fleet of small boards that run containers as one system.

edgectl speaks to one node, which passes on what is the fleet's to decide: on a
board that is the node itself, found by its socket. From a laptop use
--host ssh://user@board, which needs ssh to the board and edgectl on it; the
network port of a node answers only to members of its fleet.`,
		Example: `  edgectl status
  edgectl service create --name web --replicas 3 --publish mode=host,target=80,published=8080 nginx
  edgectl --host ssh://pi@board1 node ls`,
		SilenceErrors: true, SilenceUsage: true,
		Args: noArgs, RunE: showHelp,
	}
	root.PersistentFlags().StringVarP(&c.host, "host", "H", "", "node to speak to: unix:///path or ssh://[user@]host[:port][/socket] (default $"+client.HostVariable+", then unix://"+client.DefaultSocket+")")
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newInit(c), newUpdate(c), newJoin(c), newJoinToken(c), newLeave(c), newFleetKey(c), newFlash(c),
		newInfo(c), newStatus(c), newDoctor(c), newVersion(c), newDialStdio(c),
		newNode(c), newService(c), newTask(c), newSecret(c), newConfig(c), newNetwork(c), newImage(c), newVolume(c), newEvents(c),
	)
	tidy(root)
	offerValues(root)
	root.SetUsageFunc(briefUsage(root.UsageFunc()))
	return root
}

// briefUsage takes out of cobra's usage what it says of every switch, and of
// commands that do nothing by themselves.
func briefUsage(usual func(*cobra.Command) error) func(*cobra.Command) error {
	const everySwitch = "[=true|false]"
	return func(cmd *cobra.Command) error {
		out, text := cmd.OutOrStderr(), &strings.Builder{}
		cmd.SetOut(text)
		err := usual(cmd)
		cmd.SetOut(out)
		if err != nil {
			return err
		}
		usage := strings.ReplaceAll(text.String(), everySwitch, strings.Repeat(" ", len(everySwitch))) // the columns stay
		if cmd.HasAvailableSubCommands() {
			usage = strings.Replace(usage, "\n  "+cmd.CommandPath()+"\n", "\n", 1)
			usage = strings.ReplaceAll(usage, cmd.CommandPath()+" [command]", cmd.CommandPath()+" COMMAND")
		}
		_, err = io.WriteString(out, usage)
		return err
	}
}

// tidy sets what all commands share: Use says by itself where options go, and
// a mistyped command is up to two letters from the one that was meant.
func tidy(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.SuggestionsMinimumDistance = 2
	for _, child := range cmd.Commands() {
		tidy(child)
	}
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: showHelp}
	cmd.AddCommand(children...)
	return cmd
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// connect opens the connection that --host names.
func (c *cli) connect(ctx context.Context) (*client.Client, error) {
	return client.Dial(ctx, c.host)
}

// handler is the body of a command that speaks to a node.
type handler func(ctx context.Context, node *client.Client, args []string) error

// with runs a handler on a connection of its own.
func (c *cli) with(h handler) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		node, err := c.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer node.Close()
		return h(cmd.Context(), node, args)
	}
}

// terminal returns the file behind a stream, nil if it is not a terminal.
func terminal(stream any) *os.File {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// terminalSize is a terminal's size in characters, or a usual one.
func terminalSize(f *os.File) (width, height int) {
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// now is read once per printing, so that all rows of a table agree.
func now() time.Time { return time.Now() }
