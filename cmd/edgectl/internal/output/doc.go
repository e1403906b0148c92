// Package output prints what edgectl shows: tables for people, JSON lines and
// Go templates for programs, times and sizes in words. It follows Docker's
// --format in what it accepts.
//
// It asks nothing of a node and knows none of its nouns.
package output
