package db

import (
	"errors"
	"testing"
)

func TestClusterEndsWithKilledProcess(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	killOwner(t, dir)
	c := &Cluster{dir: dir}
	await(t, func() error {
		if _, alive := c.postmaster(); alive {
			return errors.New("the server outlives the process that started it")
		}
		return nil
	})
}
