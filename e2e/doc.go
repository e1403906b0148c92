// Package e2e tests the product as people use it: boards in a lab with real
// containerd, asked through edgectl. What happened is judged by two witnesses,
// what the fleet says (edgectl --format json) and what runs (containerd itself).
//
// It holds no code but tests, and tests nothing that a smaller test can.
package e2e
