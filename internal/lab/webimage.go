package lab

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WebImage writes an image "web:VERSION" for this machine's architecture: webd
// from the folder bin, and busybox for a shell.
func WebImage(w io.Writer, bin, version, arch string) error {
	webd, err := os.ReadFile(filepath.Join(bin, "webd"))
	if err != nil {
		return fmt.Errorf("make image web:%s: %w (run `make build`)", version, err)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("make image web:%s: %w (install busybox-static)", version, err)
	}
	links := map[string]string{}
	for _, tool := range []string{"sh", "ls", "cat", "echo", "sleep", "id", "hostname", "ip", "wget", "ps", "kill", "env", "true", "false", "dd", "nslookup", "mount", "df"} {
		links["/bin/"+tool] = "busybox"
	}
	return WriteImage(w, Image{
		Name: "web:" + version,
		Platforms: []ImagePlatform{{
			Platform: ocispec.Platform{OS: "linux", Architecture: arch},
			Files: map[string][]byte{
				"/webd": webd, "/bin/busybox": busybox, "/version": []byte(version),
				"/etc/passwd": []byte("root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"), "/etc/group": []byte("root:x:0:\nweb:x:1000:\n"),
			},
			Links: links,
		}},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/webd"}, Env: []string{"PATH=/bin"}, WorkingDir: "/", ExposedPorts: map[string]struct{}{"8080/tcp": {}}},
	})
}
