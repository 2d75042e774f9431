//go:build real

package servers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed kafka/pom.xml
var kafkaPOM string

// KafkaVersion is the version that the pom names.
func KafkaVersion() string {
	_, rest, _ := strings.Cut(kafkaPOM, "<kafka.version>")
	version, _, _ := strings.Cut(rest, "</kafka.version>")
	return version
}

// kafkaJars returns the directory of the broker's jars, which Maven fills once.
func kafkaJars(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", &MissingError{"Kafka", errors.New("no java on PATH: install a JDK from 17 on")}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "tallystick-test", "kafka-"+KafkaVersion())
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", &MissingError{"Kafka", errors.New("no mvn on PATH: install Maven")}
	}
	return dir, fetchJars(ctx, dir)
}

// fetchJars lets Maven write beside the directory and renames, so that it is
// there with all jars or not at all.
func fetchJars(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	pom := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(pom, []byte(kafkaPOM), 0o644); err != nil {
		return err
	}
	libs := filepath.Join(tmp, "libs")
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+libs)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch Kafka %s: mvn: %w: %s", KafkaVersion(), err, out)
	}
	if err := os.Rename(libs, dir); err != nil && !errors.Is(err, os.ErrExist) {
		if _, there := os.Stat(dir); there != nil { // else another test run was first
			return err
		}
	}
	return nil
}
