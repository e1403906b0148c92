package logs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// logFiles lists the numbers of a task's files, oldest first. A task without
// any is fine.
func logFiles(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".log")
		if n, err := strconv.ParseUint(name, 10, 64); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// maxFiles of a task, however small: each failed write may leave one.
const maxFiles = 64

// prune deletes a task's oldest files until the rest is within the bound. The
// newest stays in any case.
func prune(dir string, most int64) error {
	numbers, err := logFiles(dir)
	if err != nil {
		return err
	}
	var sum int64
	for i, n := range slices.Backward(numbers) {
		info, err := os.Stat(logFile(dir, n))
		if err != nil {
			continue
		}
		if sum += info.Size(); (sum > most || i < len(numbers)-maxFiles) && i < len(numbers)-1 {
			if err := os.Remove(logFile(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// pruneAll deletes the oldest files of all tasks until the rest is within the
// bound. Each task's newest file stays, unless nobody writes to it.
func pruneAll(root string, most int64, live func(task string) bool) error {
	type file struct {
		path string
		size int64
		at   time.Time
	}
	tasks, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	var (
		all []file
		sum int64
	)
	for _, task := range tasks {
		dir := filepath.Join(root, task.Name())
		numbers, err := logFiles(dir)
		if err != nil || !task.IsDir() {
			continue
		}
		for i, n := range numbers {
			info, err := os.Stat(logFile(dir, n))
			if err != nil {
				continue
			}
			sum += info.Size()
			if i < len(numbers)-1 || !live(task.Name()) {
				all = append(all, file{logFile(dir, n), info.Size(), info.ModTime()})
			}
		}
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.path, b.path)) })
	for _, f := range all {
		if sum <= most {
			return nil
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		sum -= f.size
		_ = os.Remove(filepath.Dir(f.path)) // if that was its last
	}
	return nil
}

// checkFile answers a file's size, and whether it holds whole records only.
func checkFile(path string) (size int64, whole bool, err error) {
	raw, err := os.ReadFile(path) // one file at a time, about Config.MaxFile
	if err != nil {
		return 0, false, err
	}
	for at := 0; at < len(raw); {
		_, n, err := decodeRecord(raw[at:])
		if err != nil {
			return int64(len(raw)), false, nil
		}
		at += n
	}
	return int64(len(raw)), true, nil
}
