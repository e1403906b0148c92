// Package dns answers tasks' questions for names: those of services and tasks on
// the networks that the asker is on, from what the board knows; all others by
// the board's own resolvers, or those that the task was given.
//
// It keeps no state and asks no manager. It decides nothing about who serves,
// and does not balance.
package dns
