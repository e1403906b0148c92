// Package ipam decides which part of a network's subnet is whose: subnets of
// networks, blocks of boards, addresses of tasks and services.
//
// It is pure: no clock, randomness or I/O. It knows neither tasks nor services,
// only which addresses are in use; nor does it make anything in a kernel.
package ipam
