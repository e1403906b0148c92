package manager

import (
	"context"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/control"
	"github.com/edgeswarm/edgeswarm/store"
)

const (
	// wantedCopies of each image are kept where there are as many boards: one
	// may be lost without its images.
	wantedCopies = 2
	// copySettle is how long the boards must be as they are before copies are
	// counted: one that reboots takes its copies with it, and brings them back.
	copySettle = time.Minute
	// copyRetryMost is the longest pause before what could not be copied is
	// tried again, unless boards come meanwhile.
	copyRetryMost = time.Hour
	// askTimeout and copyTimeout bound one board's answer, and one copy.
	askTimeout  = 10 * time.Second
	copyTimeout = time.Hour
)

// copier brings every image of the fleet up to two copies: one that was taken
// in while there was one board, or that a lost board held, gets its second when
// there is a board for it. Who holds what is asked of the boards, once in a term
// and when boards come or go, and stored nowhere. Copies are made one after the
// other; when all are made it does nothing.
type copier struct {
	store  *store.Store
	images control.Images
	logger *slog.Logger

	holders map[api.ImageID][]api.NodeID // by their own word, in this term
}

// run copies until ctx ends.
func (c *copier) run(ctx context.Context) error {
	changed, cancel := c.store.Subscribe()
	defer cancel()
	c.holders = map[api.ImageID][]api.NodeID{}
	timer := time.NewTimer(copySettle)
	defer timer.Stop()
	armed, retry := true, copySettle
	boards := fitBoards(c.store.View())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			v := c.store.View()
			switch now := fitBoards(v); {
			case !slices.Equal(now, boards):
				boards, retry = now, copySettle
				timer.Reset(copySettle)
				armed = true
			case !armed && len(c.lacking(v, boards)) > 0:
				timer.Reset(copySettle)
				armed = true
			}
		case <-timer.C:
			armed = false
			v := c.store.View()
			for _, image := range c.lacking(v, boards) {
				c.secure(ctx, image, boards)
			}
			maps.DeleteFunc(c.holders, func(id api.ImageID, _ []api.NodeID) bool { return v.Image(id) == nil })
			if retry = min(2*retry, copyRetryMost); len(c.lacking(c.store.View(), boards)) > 0 {
				timer.Reset(retry)
				armed = true
			} else {
				retry = copySettle
			}
		}
	}
}

// fitBoards are those that may hold copies now, in order.
func fitBoards(v *store.View) []api.NodeID {
	var boards []api.NodeID
	for node := range v.Nodes.All() {
		if node.Status.State == api.NodeReady && node.Description.Engine.RuntimeError == "" {
			boards = append(boards, node.ID)
		}
	}
	slices.Sort(boards)
	return boards
}

// lacking are the images that are not known to have their copies, if there are
// boards for them.
func (c *copier) lacking(v *store.View, boards []api.NodeID) []*api.Image {
	if len(boards) < wantedCopies {
		return nil
	}
	var out []*api.Image
	for image := range v.Images.All() {
		held := 0
		for _, node := range c.holders[image.ID] {
			if slices.Contains(boards, node) {
				held++
			}
		}
		if held < wantedCopies {
			out = append(out, image)
		}
	}
	return out
}

// secure finds out who holds an image, and has copies made that are missing.
func (c *copier) secure(ctx context.Context, image *api.Image, boards []api.NodeID) {
	var have, lack []api.NodeID
	for _, node := range c.inTurn(image.ID, boards) {
		if len(have) == wantedCopies {
			break
		}
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		holds, err := c.images.Holds(asking, image, node)
		cancel()
		switch {
		case err != nil:
			c.logger.Debug("a board does not say whether it holds an image", "image", image.ID, "node", node, "err", err)
		case holds:
			have = append(have, node)
		default:
			lack = append(lack, node)
		}
	}
	for _, node := range lack {
		if len(have) == 0 || len(have) == wantedCopies {
			break
		}
		copying, cancel := context.WithTimeout(ctx, copyTimeout)
		err := c.images.Replicate(copying, image, have[0], node)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.logger.Warn("image was not copied", "image", image.ID, "node", node, "err", err)
			continue
		}
		c.logger.Info("image has another copy", "image", image.ID, "node", node)
		have = append(have, node)
	}
	if len(have) == 0 {
		c.logger.Warn("no board that is up holds an image of the fleet", "image", image.ID)
	}
	c.holders[image.ID] = have
}

// inTurn puts boards in the order to ask: who held the image before first, and
// then each image's own, so that copies spread over the boards.
func (c *copier) inTurn(image api.ImageID, boards []api.NodeID) []api.NodeID {
	weight := map[api.NodeID]uint64{}
	for _, node := range boards {
		h := fnv.New64a()
		_, _ = h.Write([]byte(string(image) + string(node))) // it never errs
		weight[node] = h.Sum64()
	}
	out := slices.Clone(boards)
	slices.SortFunc(out, func(a, b api.NodeID) int {
		switch held := c.holders[image]; {
		case slices.Contains(held, a) != slices.Contains(held, b):
			if slices.Contains(held, a) {
				return -1
			}
			return 1
		case weight[a] < weight[b]:
			return -1
		case weight[a] > weight[b]:
			return 1
		default:
			return 0
		}
	})
	return out
}
