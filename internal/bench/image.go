package bench

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeWebImage writes an image with webd alone as `docker save` would.
func writeWebImage(w io.Writer, bin, arch string) error {
	webd, err := os.ReadFile(filepath.Join(bin, "webd"))
	if err != nil {
		return fmt.Errorf("make image %s: %w (run `make build`)", imageName, err)
	}
	layer, err := archive(file{"webd", webd}, file{"version", []byte("1")})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": arch, "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{"Entrypoint": []string{"/webd"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer)}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": sum(config) + ".json", "RepoTags": []string{imageName}, "Layers": []string{sum(layer) + "/layer.tar"},
	}})
	if err != nil {
		return err
	}
	all, err := archive(file{sum(config) + ".json", config}, file{sum(layer) + "/layer.tar", layer}, file{"manifest.json", manifest})
	if err != nil {
		return err
	}
	_, err = w.Write(all)
	return err
}

type file struct {
	name string
	data []byte
}

func archive(files ...file) ([]byte, error) {
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, f := range files {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o755}); err != nil {
			return nil, err
		}
		if _, err := tw.Write(f.data); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), tw.Close()
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}
