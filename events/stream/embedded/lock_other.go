//go:build !unix

package embedded

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir takes the directory for this process. The file is created exclusively and must be removed by hand after a
// crash, because this system has no lock that ends with its process.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if os.IsExist(err) {
		return nil, &InUseError{Dir: dir}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	return func() {
		if f.Close() == nil { // the first time
			_ = os.Remove(f.Name())
		}
	}, nil
}
