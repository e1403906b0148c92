//go:build !race

package admission

const coldStarts = 200
