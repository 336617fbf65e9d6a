package db

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// When a start is given up, the server is down and its directory free.
func TestClusterStopsWhatIsNotStarted(t *testing.T) {
	t.Parallel()
	dir, elsewhere := clusterDir(t), clusterDir(t)
	if err := os.Chmod(elsewhere, 0o777); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	look := &Cluster{dir: dir}
	time.AfterFunc(0, func() {
		for alive := false; !alive && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
			_, alive = look.postmaster()
		}
		cancel()
	})
	if _, err := StartCluster(ctx, dir, "fsync=off", "unix_socket_directories="+elsewhere); !errors.Is(err, context.Canceled) {
		t.Fatalf("a start that is given up: %v", err)
	}
	if pid, alive := look.postmaster(); alive {
		t.Errorf("process %d is still there", pid)
	}
	startCluster(t, dir, "fsync=off")
}
