// Package arch holds the rules of the house as tests: who may import whom,
// which packages are pure, and that each says what it is for.
package arch
