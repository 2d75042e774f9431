package offline

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tallystick/tallystick/store/files"
)

// syncedFiles notes which directories were synced, and which were there before.
type syncedFiles struct {
	files.OS
	mu     *sync.Mutex
	synced map[string]bool
}

func (f syncedFiles) Sync(path string) error {
	f.mu.Lock()
	f.synced[path] = true
	f.mu.Unlock()
	return f.OS.Sync(path)
}

// B2: what a first publication has told of outlives a power failure: the names of all
// directories that it made are durable, those above the tables too.
func TestFirstPublicationIsDurable(t *testing.T) {
	dir := t.TempDir()
	fs := syncedFiles{mu: &sync.Mutex{}, synced: map[string]bool{}}
	root, err := OpenRoot(filepath.Join(dir, "lake", "prod"), RootOptions{Files: fs})
	if err != nil {
		t.Fatal(err)
	}
	newGCRig(t, root).publish(1, 4, 1)
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != dir && d.Name() != staging && !fs.synced[filepath.Dir(path)] {
			t.Errorf("B2: a power failure may take %s: the directory above it was not synced", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
