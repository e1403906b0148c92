// Command edgectl is the command line of a fleet. It turns flags into the
// nouns of api, sends them to one node, and prints what comes back; all it
// decides by itself is how to say it.
//
// It exits with 0 when what was asked is done, 1 when it was refused or came to
// a bad end, 125 when the command line could not be understood, 130 when it was
// interrupted, and for `task exec` as the command in the task did.
package main
