// Package image keeps the blobs of the fleet's images on this board: it takes
// archives in, fetches what is missing from neighbours by digest, from a
// registry only if no neighbour has it, and serves its own blobs to others.
//
// Blobs live in containerd's content store, each verified by digest before it
// is used. What images the fleet has, and under which names, is replicated
// state and not kept here; who holds a blob is asked, never remembered.
package image
