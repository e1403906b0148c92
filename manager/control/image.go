package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// parseReference reads an image's name as Docker does: "web" is
// "docker.io/library/web:latest". full is the name under which the fleet keeps
// it, without a digest; pinned is the digest if the user gave one.
func parseReference(op, text string) (named reference.Named, full string, pinned api.ImageID, err error) {
	ref, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, "", "", api.Errorf(api.Invalid, op, "image: %q is not an image's name (%w); write it as [registry/]name[:tag]", text, err)
	}
	if digested, ok := ref.(reference.Digested); ok {
		pinned = api.ImageID(digested.Digest())
	}
	named = reference.TrimNamed(ref)
	if tagged, ok := ref.(reference.Tagged); ok {
		if named, err = reference.WithTag(named, tagged.Tag()); err != nil {
			return nil, "", "", api.Errorf(api.Invalid, op, "image: %q: %w", text, err)
		}
	} else if pinned == "" {
		named = reference.TagNameOnly(named)
	}
	return named, named.String(), pinned, nil
}

// pin resolves a service's image to one that the fleet has, fetching it from
// its registry if it has not, and answers the reference that tasks are made
// with and the platforms that it is for.
func (s *Server) pin(ctx context.Context, op, text string) (string, []api.Platform, error) {
	named, full, pinned, err := parseReference(op, text)
	if err != nil {
		return "", nil, err
	}
	v := s.cfg.Store.View()
	image := v.ImageByName(full)
	if pinned != "" {
		image = v.Image(pinned)
	}
	if image == nil {
		wanted := full
		if pinned != "" {
			wanted = full + "@" + string(pinned)
		}
		if image, err = s.pull(ctx, op, named, wanted); err != nil {
			return "", nil, err
		}
		if pinned != "" && image.ID != pinned {
			return "", nil, api.Errorf(api.Conflict, op, "image: the registry answered %s with %s", wanted, image.ID)
		}
	}
	return reference.FamiliarString(named) + "@" + string(image.ID), platformsOf(image), nil
}

// claim ties a service to the image that it was pinned to. An image that nothing
// names and no service uses is forgotten: of two changes that decide on one at
// the same time, the later decides again, since both write it. Refused if the
// image was forgotten first; asked again, its name means the one that took it.
func claim(op string, tx *store.Tx, spec *api.ServiceSpec) error {
	pinned := spec.TaskTemplate.ContainerSpec.Image
	image := tx.Image(digestOf(pinned))
	if image == nil {
		return api.Errorf(api.Unavailable, op, "image %s has just given way to another; try again", pinned)
	}
	same := *image
	tx.Put(&same)
	return nil
}

// digestOf is the part of a pinned reference that names the image.
func digestOf(pinned string) api.ImageID {
	_, id, _ := strings.Cut(pinned, "@")
	return api.ImageID(id)
}

func platformsOf(image *api.Image) []api.Platform {
	var all []api.Platform
	for _, m := range image.Manifests {
		if m.Platform != (api.Platform{}) && !slices.Contains(all, m.Platform) {
			all = append(all, m.Platform)
		}
	}
	return all
}

// pull brings an image into the fleet from its registry.
func (s *Server) pull(ctx context.Context, op string, named reference.Named, wanted string) (*api.Image, error) {
	image, err := s.cfg.Images.Pull(ctx, wanted)
	if err != nil {
		return nil, api.Errorf(api.NotFound, op, "image %s is not in the fleet, and could not be pulled from %s: %w; put it in with `edgectl image load FILE`",
			reference.FamiliarString(named), reference.Domain(named), err)
	}
	name := named.String()
	if known := s.cfg.Store.View().Image(image.ID); known != nil && (reference.IsNameOnly(named) || slices.Contains(known.Names, name)) {
		return known, nil
	}
	described := *image
	described.Names = slices.Clone(image.Names)
	if !reference.IsNameOnly(named) && !slices.Contains(described.Names, name) {
		described.Names = append(described.Names, name)
	}
	resp, err := s.registerImage(ctx, &api.RegisterImageRequest{Image: described, Holder: s.cfg.Self})
	if err != nil {
		return nil, err
	}
	return resp.Image, nil
}

func (s *Server) listImages(_ context.Context, r *api.ListImagesRequest) (*api.ListImagesResponse, error) {
	order := func(a, b *api.Image) int {
		return cmp.Or(slices.Compare(a.Names, b.Names), strings.Compare(string(a.ID), string(b.ID)))
	}
	resp := &api.ListImagesResponse{}
	for image := range s.cfg.Store.View().Images.All() {
		if r.AfterID == "" || order(image, &api.Image{Names: r.AfterNames, ID: r.AfterID}) > 0 {
			resp.Images = append(resp.Images, image)
		}
	}
	slices.SortFunc(resp.Images, order)
	if r.Paged {
		var rest []*api.Image
		resp.Images, rest = api.Split(resp.Images)
		resp.More = len(rest) > 0
	}
	return resp, nil
}

// registerImage records an image once it has its second copy: from then on
// services are made of it.
func (s *Server) registerImage(ctx context.Context, r *api.RegisterImageRequest) (*api.RegisterImageResponse, error) {
	const op = "register image"
	names, err := checkImage(op, r)
	if err != nil {
		return nil, err
	}
	v := s.cfg.Store.View()
	if err := open(op, v); err != nil { // before anything is copied
		return nil, err
	}
	if err := holds(op, v, r.Holder); err != nil {
		return nil, err
	}
	described := r.Image
	described.Names = names
	copies, err := s.secondCopy(ctx, op, v, &described, r.Holder)
	if err != nil {
		return nil, err
	}
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		if err := holds(op, tx.View, r.Holder); err != nil {
			return nil, err
		}
		return record(tx, &described, names), nil
	})
	if err != nil {
		return nil, err
	}
	image := v.Image(api.ImageID(key))
	if image == nil {
		return nil, api.Errorf(api.NotFound, op, "image %s was removed meanwhile", key)
	}
	return &api.RegisterImageResponse{Image: image, Copies: copies}, nil
}

// holds refuses a holder that is no member.
func holds(op string, v *store.View, holder api.NodeID) error {
	if v.Node(holder) == nil {
		return api.Errorf(api.NotFound, op, "the node %s that is to hold the image is not a member", holder)
	}
	return nil
}

// maxImage is the most that may be said of an image, in bytes: nodes are sent it.
const maxImage = 256 << 10

func checkImage(op string, r *api.RegisterImageRequest) (names []string, err error) {
	if err := digest.Digest(r.Image.ID).Validate(); err != nil {
		return nil, api.Errorf(api.Invalid, op, "image ID %q: %w", r.Image.ID, err)
	}
	if len(r.Image.Manifests) == 0 {
		return nil, api.Errorf(api.Invalid, op, "image %s has no manifest for any platform", r.Image.ID)
	}
	if raw, err := api.Encode(r.Image); err != nil || len(raw) > maxImage {
		return nil, api.Errorf(api.Invalid, op, "image %s has too many names or manifests: they may take %d bytes", r.Image.ID, maxImage)
	}
	for _, m := range r.Image.Manifests {
		if err := digest.Digest(m.Digest).Validate(); err != nil {
			return nil, api.Errorf(api.Invalid, op, "manifest %q: %w", m.Digest, err)
		}
	}
	for _, name := range r.Image.Names {
		_, full, pinned, err := parseReference(op, name)
		if err != nil {
			return nil, err
		}
		if pinned == "" && !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	return names, nil
}

// record writes an image down and moves its names to it. Writing what is known
// already changes nothing.
func record(tx *store.Tx, image *api.Image, names []string) *api.Image {
	for _, name := range names {
		if holder := tx.ImageByName(name); holder != nil && holder.ID != image.ID {
			unname(tx, holder, name)
		}
	}
	known := tx.Image(image.ID)
	if known == nil {
		next := *image
		next.Meta, next.Names = api.Meta{}, names
		tx.Put(&next)
		return &next
	}
	next := *known
	next.Names, next.Manifests = slices.Clone(known.Names), slices.Clone(known.Manifests)
	for _, name := range names {
		if !slices.Contains(next.Names, name) {
			next.Names = append(next.Names, name)
		}
	}
	for _, m := range image.Manifests {
		if !slices.Contains(next.Manifests, m) {
			next.Manifests = append(next.Manifests, m)
			next.Size = max(next.Size, image.Size)
		}
	}
	if len(next.Names) == len(known.Names) && len(next.Manifests) == len(known.Manifests) {
		return known
	}
	tx.Put(&next)
	return &next
}

// unname takes a name away from an image that had it. An image that nothing
// names and nothing uses is forgotten.
func unname(tx *store.Tx, image *api.Image, name string) {
	next := *image
	next.Names = slices.DeleteFunc(slices.Clone(image.Names), func(n string) bool { return n == name })
	if len(next.Names) == 0 && !used(tx.View, image.ID) {
		tx.Delete(image)
		return
	}
	tx.Put(&next)
}

// used reports whether a service, or what it may be rolled back to, or a task
// that still runs, needs an image.
func used(v *store.View, id api.ImageID) bool {
	needs := func(ref string) bool { return strings.HasSuffix(ref, "@"+string(id)) }
	for service := range v.Services.All() {
		previous := service.PreviousSpec
		if needs(service.Spec.TaskTemplate.ContainerSpec.Image) || previous != nil && needs(previous.TaskTemplate.ContainerSpec.Image) {
			return true
		}
	}
	for task := range v.Tasks.All() {
		if task.Live() && needs(task.Spec.ContainerSpec.Image) {
			return true
		}
	}
	return false
}

// secondCopy makes another node hold an image, where there is one that is up,
// so that what is acknowledged outlives one board.
func (s *Server) secondCopy(ctx context.Context, op string, v *store.View, image *api.Image, holder api.NodeID) ([]api.NodeID, error) {
	var refusals []string
	for _, node := range copyOrder(v, holder) {
		err := s.cfg.Images.Replicate(ctx, image, holder, node.ID)
		if err == nil {
			return []api.NodeID{holder, node.ID}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.cfg.Logger.Warn("image was not copied", "image", image.ID, "node", node.ID, "err", err)
		refusals = append(refusals, fmt.Sprintf("%s: %v", node.Name(), err))
	}
	if len(refusals) == 0 {
		return []api.NodeID{holder}, nil
	}
	return nil, api.Errorf(api.Unavailable, op, "the image was not taken in: it is on one board only, and no other could take a copy (%s); try again when one can", strings.Join(refusals, "; "))
}

// copyOrder lists the nodes that may take a copy.
func copyOrder(v *store.View, holder api.NodeID) []*api.Node {
	var nodes []*api.Node
	for node := range v.Nodes.All() {
		if node.ID != holder && node.Status.State == api.NodeReady && node.Description.Engine.RuntimeError == "" {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
