package disk

import (
	"errors"
	"fmt"
	"os"
)

// Export writes the whole card, as the board sees it, into a file that is
// sparse where the card is empty.
func (c *Card) Export(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("export card: %w", err)
	}
	if err := errors.Join(c.export(file), file.Close()); err != nil {
		return fmt.Errorf("export card: %w", err)
	}
	return nil
}

func (c *Card) export(file *os.File) error {
	if err := file.Truncate(c.size); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	zero := make([]byte, len(buf))
	for off := int64(0); off < c.size; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), c.size-off)]
		if _, err := c.ReadAt(part, off); err != nil {
			return err
		}
		if string(part) == string(zero[:len(part)]) {
			continue
		}
		if _, err := file.WriteAt(part, off); err != nil {
			return err
		}
	}
	return nil
}
