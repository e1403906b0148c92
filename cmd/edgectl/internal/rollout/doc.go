// Package rollout follows a service on its way to what was asked: it judges
// when the way ends, and shows it, with a bar per task on a terminal and with
// one line per change elsewhere.
//
// It opens no connection and keeps no time: it is handed each moment as the
// leader streams it.
package rollout
