// Command edgeinit is the first program of a board, in the initramfs: it loads
// the drivers for the card, finds it, mounts the system of it, read-only, and
// starts that. What a board needs of its data partition and its settings is
// done from there, by edgeboot.
package main

func main() { firstProcess() }
