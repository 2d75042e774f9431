package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms/definition"
)

// Root is where the tables of views lie: a local directory, or s3://BUCKET/PREFIX.
// Those of a view are in VIEW/features and so on below it.
type Root struct {
	name   string
	bucket *bucket // nil = a local directory
	prefix string  // of the keys in the bucket
	calls  *Calls
	files  files.Files // of a local directory
}

// RootOptions say how the store below a root is asked.
type RootOptions struct {
	Calls *Calls // counts the calls and bounds their rate; nil = neither
	// Files are those of a local directory; nil = the operating system's.
	Files files.Files
	// Scratch is the directory that takes copies of objects while they are read; ""
	// = the system's.
	Scratch string
	// attempts is how often a call to an object store is tried; 0 = s3Attempts.
	attempts int
}

// IsURL tells whether a root is not a local directory: s3:/BUCKET is a slip, not one.
func IsURL(root string) bool { return strings.Contains(root, "://") || strings.HasPrefix(root, "s3:") }

// OpenRoot returns a root. It connects to nothing: where it is a URL, the
// environment says how the server is reached, as docs/storage.md tells.
func OpenRoot(root string, opt RootOptions) (*Root, error) {
	r := &Root{name: root, calls: opt.Calls, files: opt.Files}
	if r.files == nil {
		r.files = files.OS{}
	}
	if !IsURL(root) {
		return r, nil
	}
	if err := CheckRoot(root); err != nil {
		return nil, err
	}
	name, prefix, err := splitURL(root)
	if err != nil {
		return nil, err
	}
	r.prefix = prefix
	r.bucket, err = openBucket(name, opt)
	return r, err
}

// splitURL returns bucket and prefix of s3://BUCKET/PREFIX.
func splitURL(root string) (bucket, prefix string, err error) {
	scheme, rest, _ := strings.Cut(root, "://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	switch {
	case strings.ContainsAny(root, "@?#"): // it may hold a password: nothing of it is shown
		return "", "", errors.New("a URL of tables has no @, ? and #: write s3://BUCKET/PREFIX, and give credentials by the environment")
	case scheme != "s3":
		return "", "", fmt.Errorf("%q: tables lie in a local directory or in s3://BUCKET/PREFIX", root)
	case bucket == "":
		return "", "", fmt.Errorf("%q names no bucket: write s3://BUCKET/PREFIX", root)
	}
	prefix = strings.Trim(prefix, "/")
	if prefix != "" && path.Clean("/"+prefix) != "/"+prefix {
		return "", "", fmt.Errorf("%q: its prefix has an empty part, . or ..: write s3://BUCKET/PREFIX", root)
	}
	return bucket, prefix, nil
}

// String returns the root as it was given.
func (r *Root) String() string { return r.name }

// Identity names the place, however it was written: two roots of one identity are one.
func (r *Root) Identity() (string, error) {
	if r.bucket != nil {
		return fmt.Sprintf("%s below %q", r.bucket.place, r.prefix), nil
	}
	dir, err := filepath.Abs(r.name)
	if err != nil {
		return "", err
	}
	for missing := ""; ; dir, missing = filepath.Dir(dir), filepath.Join(filepath.Base(dir), missing) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, missing), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", err
		}
	}
}

// Counts returns the calls to the store so far, nothing without Calls.
func (r *Root) Counts() CallCounts { return r.calls.Counts() }

// Close closes connections that wait for another call.
func (r *Root) Close() {
	if r.bucket != nil {
		r.bucket.close()
	}
}

// store returns what lies below a path of the root.
func (r *Root) store(below ...string) (Store, error) {
	if r.bucket != nil {
		return &S3{r.bucket, path.Join(append([]string{r.prefix}, below...)...)}, nil
	}
	l, err := NewLocal(filepath.Join(append([]string{r.name}, below...)...))
	if err != nil {
		return nil, err
	}
	l = l.On(r.files)
	if r.calls != nil {
		return &counted{l, r.calls}, nil
	}
	return l, nil
}

// Tables returns the tables of a view. They need not exist yet.
func (r *Root) Tables(v *definition.View) (*Tables, error) {
	stores := map[TableName]Store{}
	for _, name := range tableOrder {
		s, err := r.store(v.Name, string(name))
		if err != nil {
			return nil, err
		}
		stores[name] = s
	}
	return NewTables(stores, v)
}

// OpenTables returns the tables of a view below a root.
func OpenTables(root string, v *definition.View) (*Tables, error) {
	r, err := OpenRoot(root, RootOptions{})
	if err != nil {
		return nil, err
	}
	return r.Tables(v)
}

// replays is where work areas lie. No view has such a name.
const replays = "_replay"

// elsewhere begins the directories of work areas whose tables lie below another root.
const elsewhere = "of-"

// Work returns the work area of a view's job of this ID, whose tables lie below
// tables: what others leave here that write elsewhere is no matter of its. disk bounds
// what is written; nil = no limit.
func (r *Root) Work(tables *Root, view, id string, disk *spill.Disk) (*Work, error) {
	s, err := r.works(tables, view)
	if err != nil {
		return nil, err
	}
	w := NewWork(s, id, disk)
	w.alone = true
	return w, nil
}

// Works returns the IDs of the view's jobs whose work areas are there, ascending.
func (r *Root) Works(ctx context.Context, tables *Root, view string) ([]string, error) {
	w, err := r.Work(tables, view, "", nil)
	if err != nil {
		return nil, err
	}
	return w.siblings(ctx)
}

// works is where the work areas of a view lie whose tables are below tables.
func (r *Root) works(tables *Root, view string) (Store, error) {
	own, err := r.Identity()
	if err != nil {
		return nil, err
	}
	place, err := tables.Identity()
	if err != nil {
		return nil, err
	}
	below := []string{replays, view}
	if place != own {
		sum := sha256.Sum256([]byte(place))
		below = append(below, elsewhere+hex.EncodeToString(sum[:8]))
	}
	return r.store(below...)
}

// Calls returns what counts the calls to the store, nil = nothing does.
func (r *Root) Calls() *Calls { return r.calls }
