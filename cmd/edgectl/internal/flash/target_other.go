//go:build !linux

package flash

import (
	"errors"
	"os"
)

const exclusive = 0

// refuse: what a disk is used for is known on Linux alone.
func refuse(string, bool) error {
	return errors.New("disks are written on Linux alone: here, write to a file with --device FILE.img, and that to the card with any program that writes images")
}

func forget(*os.File) {}
func reread(*os.File) {}
