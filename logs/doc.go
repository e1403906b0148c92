// Package logs keeps what tasks write. One log process per board, the same
// binary in another role, reads the FIFOs of all tasks and writes bounded
// files; it outlives edged, so that no task is held up, and no line lost, when
// edged dies. Serve is that process, Client is how the rest of the board
// speaks to it, Client.Read reads the files themselves, and Merge puts streams
// of several boards in order of time.
//
// # Files
//
// The lines of a task are in <dir>/<task>/<number>.log, oldest number first:
// records that follow one another, each a header of 20 bytes, big-endian, and
// the line without its line feed.
//
//	0   1  0xED
//	1   1  bit 0: standard error; bit 1: more of the line follows; bit 2: a note of ours
//	2   2  length of the line, at most 16384
//	4   4  attempt of the task
//	8   8  nanoseconds since 1970
//	16  4  CRC-32C of the 16 bytes above and of the line
//
// A reader that finds something else, after a power cut, looks for the next
// record byte by byte. Nothing is ever synced: a power cut may cost the last
// half minute of lines, and in return the card is written to rarely.
//
// The package does not know services or boards, and moves no line over the
// network.
package logs
