package api

// Image is an image the fleet keeps: pinned by digest, fetched from
// neighbours. Who holds which blob is soft state and not here.
type Image struct {
	ID ImageID // the digest of the index or manifest that Names point to
	Meta
	// MediaType and RootSize (bytes) are of ID's own blob: with ID they make the
	// OCI descriptor from which all else is found.
	MediaType string
	RootSize  int64
	// Names are the full references that resolve to it ("docker.io/library/web:1").
	// A name belongs to one image at a time.
	Names []string
	// Manifests are the platforms it holds.
	Manifests []ImageManifest
	// Size of all blobs of all platforms held, in bytes.
	Size int64
}

// ImageManifest is an image for one platform.
type ImageManifest struct {
	Digest   string
	Platform Platform
	Size     int64 // bytes of its blobs
}

// Key returns the image's ID.
func (i *Image) Key() string { return string(i.ID) }

// Head returns the object's metadata.
func (i *Image) Head() *Meta { return &i.Meta }
