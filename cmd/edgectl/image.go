package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newImage(c *cli) *cobra.Command {
	return group("image", "Put images into the fleet, and list them", newImageLoad(c), newImagePull(c), newImageLs(c))
}

func newImageLoad(c *cli) *cobra.Command {
	var input string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [OPTIONS] [FILE|-]",
		Short: "Put the images of an archive into the fleet",
		Long: `Put the images of an archive into the fleet: an OCI layout or what docker save
writes, plain or gzipped, from a file or from standard input. It is done when
two boards hold them, where there are two.`,
		Example: `  edgectl image load web.tar
  docker save web:1 | edgectl image load`,
		Args: needArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if input != "" && input != args[0] {
					return invalidf("the archive is given twice, as %s and as --input %s: give one", args[0], input)
				}
				input = args[0]
			}
			archive, err := c.openArchive(input)
			if err != nil {
				return err
			}
			defer archive.Close()
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
				return c.imageLoad(ctx, node, archive, quiet)
			})(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "archive to read instead of standard input")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// openArchive opens a file, or standard input for "" and "-".
func (c *cli) openArchive(path string) (io.ReadCloser, error) {
	if path == "" || path == "-" {
		if terminal(c.in) != nil {
			return nil, invalidf("standard input is a terminal, not an archive: name a file, or pipe one in, as in docker save web:1 | edgectl image load")
		}
		return io.NopCloser(c.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, invalidf("%w: name an archive that docker save or an OCI tool wrote", err)
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		_ = f.Close()
		return nil, invalidf("%s is a folder, not an archive: pack it first, as in tar -C %[1]s -c . | edgectl image load", path)
	}
	return f, nil
}

// chunkSize is how much of an archive goes in one message.
const chunkSize = 256 << 10

func (c *cli) imageLoad(ctx context.Context, node *client.Client, archive io.Reader, quiet bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // ends the sender when the node has refused early
	stream, err := node.Board().LoadImage(ctx)
	if err != nil {
		return err
	}
	go sendArchive(stream, archive, cancel)
	images, err := c.imageProgress(stream, quiet)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	for _, i := range images {
		for _, name := range i.Names {
			fmt.Fprintln(c.out, "Loaded image: "+name)
		}
		if len(i.Names) == 0 {
			fmt.Fprintln(c.out, "Loaded image ID: "+string(i.ID))
		}
	}
	return nil
}

// sendArchive sends all of an archive. A failure to read calls the load off,
// because an archive's beginning must not pass for the whole.
func sendArchive(stream interface {
	Send(*api.Chunk) error
	CloseSend() error
}, archive io.Reader, cancel context.CancelCauseFunc) {
	for {
		buf := make([]byte, chunkSize) // a sent message may still be read from
		n, err := io.ReadFull(archive, buf)
		if n > 0 && stream.Send(&api.Chunk{Data: buf[:n]}) != nil {
			return // the receiver learns why
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			_ = stream.CloseSend()
			return
		default:
			cancel(fmt.Errorf("read archive: %w", err))
			return
		}
	}
}

// imageProgress shows how images come along, and returns them when they are in.
func (c *cli) imageProgress(stream interface {
	Recv() (*api.ImageProgress, error)
}, quiet bool) ([]*api.Image, error) {
	show := newTicker(c.err, quiet)
	defer show.end()
	for {
		p, err := stream.Recv()
		if err == io.EOF {
			return nil, api.Errorf(api.Internal, "", "the node ended before the image was in: try again")
		}
		if err != nil {
			return nil, err
		}
		show.show(p)
		if p.Done {
			show.end()
			if len(p.Copies) == 1 {
				c.warn([]string{"there is 1 copy, on one board: no other is up that could take a second; load or pull it again when one is"})
			}
			return p.Images, nil
		}
	}
}

// ticker shows progress in one line on a terminal, each status once elsewhere.
type ticker struct {
	w     io.Writer
	tty   *os.File
	quiet bool
	last  string
	open  bool
}

func newTicker(w io.Writer, quiet bool) *ticker { return &ticker{w: w, tty: terminal(w), quiet: quiet} }

func (t *ticker) show(p *api.ImageProgress) {
	status := output.Safe(p.Status)
	if t.quiet || status == "" {
		return
	}
	if t.tty == nil {
		if status != t.last {
			t.last = status
			fmt.Fprintln(t.w, status)
		}
		return
	}
	if p.Total > 0 {
		status += fmt.Sprintf(" %s / %s (%d%%)", output.Bytes(p.Current), output.Bytes(p.Total), 100*min(p.Current, p.Total)/p.Total)
	} else if p.Current > 0 {
		status += " " + output.Bytes(p.Current)
	}
	width, _ := terminalSize(t.tty)
	t.open = true
	fmt.Fprintf(t.w, "\r\x1b[K%s", output.Ellipsis(status, max(width-1, 10)))
}

// end leaves the line.
func (t *ticker) end() {
	if t.open {
		t.open = false
		fmt.Fprint(t.w, "\r\x1b[K")
	}
}

func newImagePull(c *cli) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] IMAGE",
		Short: "Fetch an image from its registry into the fleet",
		Example: `  edgectl image pull nginx:1.27
  edgectl image pull ghcr.io/acme/cam@sha256:…`,
		Args: needArgs(1, 1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			stream, err := node.Board().PullImage(ctx, &api.PullImageRequest{RequestID: api.NewID[api.RequestID](), Reference: args[0]})
			if err != nil {
				return err
			}
			images, err := c.imageProgress(stream, quiet)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			for _, i := range images {
				fmt.Fprintf(c.out, "Digest: %s\n", i.ID)
			}
			if err == nil {
				fmt.Fprintln(c.out, args[0])
			}
			return err
		}),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// imageRow is a line of `image ls`.
type imageRow struct{ Repository, Tag, ID, Platforms, Size string }

var imageHeader = imageRow{"REPOSITORY", "TAG", "IMAGE ID", "PLATFORMS", "SIZE"}

const imageTable = `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Platforms}}\t{{.Size}}`

func newImageLs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("reference", "id")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short: "List the images that the fleet keeps",
		Example: `  edgectl image ls
  edgectl image ls --filter reference=nginx`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Control().ListImages(ctx, &api.ListImagesRequest{})
			if err != nil {
				return err
			}
			var rows []imageRow
			for _, i := range resp.Images {
				for _, row := range imageRows(i, &l) {
					if f.begins("id", strings.TrimPrefix(string(i.ID), "sha256:"), string(i.ID)) && f.begins("reference", row.Repository+":"+row.Tag) {
						rows = append(rows, row)
					}
				}
			}
			return printRows(c, &l, imageTable, imageHeader, rows)
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

// imageRows is a row for each of an image's names.
func imageRows(i *api.Image, l *listFlags) []imageRow {
	id := string(i.ID)
	if !l.noTrunc {
		id = l.id(strings.TrimPrefix(id, "sha256:"))
	}
	var platforms []string
	for _, m := range i.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	row := imageRow{Repository: "<none>", Tag: "<none>", ID: id, Platforms: strings.Join(platforms, ", "), Size: output.Bytes(i.Size)}
	if len(i.Names) == 0 {
		return []imageRow{row}
	}
	var rows []imageRow
	for _, name := range i.Names {
		short := imageName(name)
		row.Repository, row.Tag = short, "<none>"
		if at := strings.LastIndex(short, ":"); at > strings.LastIndex(short, "/") && !strings.Contains(short, "@") {
			row.Repository, row.Tag = short[:at], short[at+1:]
		}
		rows = append(rows, row)
	}
	return rows
}
