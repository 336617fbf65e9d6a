// Package db is what is true: the schema, the queries, the rules that guard a change of state, and the
// private PostgreSQL.
package db

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

const (
	// openWait bounds the first connection, a database that is just starting up included.
	openWait = 10 * time.Second
	// poolSize suits two cores shared with the database: group commit needs four connections, one for each
	// kind; the rest is for what goes alone, other reads and the hub. More would only queue inside PostgreSQL,
	// where waiting holds locks. A pool_max_conns in the address wins.
	poolSize = 16
	// relaxedLeast is what River needs: one connection listens for as long as it runs.
	relaxedLeast = 4
)

// sessionSettings hold on every connection. Whatever runs longer has gone astray: a request is given
// up long before, and the work of a group is bounded to 10 seconds.
var sessionSettings = map[string]string{
	"application_name":                    "frenchpress",
	"timezone":                            "UTC",
	"statement_timeout":                   "30s",
	"lock_timeout":                        "15s",
	"idle_in_transaction_session_timeout": "30s",
	"idle_session_timeout":                "0", // who listens is idle
	"default_transaction_isolation":       "read committed",
}

// Open connects to the PostgreSQL at url. One that does not answer within 10 seconds or is older than
// 15 is an error in one sentence, and no error holds the password.
func Open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// pgx quotes parts of what it could not read, and one of them may be the password.
		return nil, errors.New("the database's address cannot be read: it should look like postgres://user:password@host:5432/database")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = poolSize
	}
	for name, value := range sessionSettings {
		if _, given := config.ConnConfig.RuntimeParams[name]; !given {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	config.AfterRelease = func(conn *pgx.Conn) bool { return !readsOnly(conn) }
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := checkServer(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("the database %s %w", whereabouts(config.ConnConfig), err)
	}
	return pool, nil
}

// readsOnly tells whether a session takes no orders: its server is a standby, or somebody has set it so. PostgreSQL reports
// both by itself. After a failover the pool must not keep such a session for the hour that connections live.
func readsOnly(conn *pgx.Conn) bool {
	return conn.PgConn().ParameterStatus("in_hot_standby") == "on" || conn.PgConn().ParameterStatus("default_transaction_read_only") == "on"
}

// OpenRelaxed makes a second pool, half as large, for what is done again where a crash of the database
// undoes it: its commits do not wait for the disk, and the write path's wait less for theirs. PostgreSQL
// loses no more than three times wal_writer_delay of them, 0.6 s, and nothing out of order.
func OpenRelaxed(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Pool, error) {
	config := pool.Config()
	config.MaxConns = relaxedSize(config.MaxConns)
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	return pgxpool.NewWithConfig(ctx, config)
}

func relaxedSize(poolMost int32) int32 { return max(poolMost/2, relaxedLeast) }

// checkServer waits for a server that is just starting up, and for no other fault.
func checkServer(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	var version int
	var name string
	var standby, readOnly bool
	err := retry(ctx, openWait, func() (again bool, err error) {
		err = pool.QueryRow(ctx, `
    select current_setting('server_version_num')::int, current_setting('server_version'),
           pg_is_in_recovery(), current_setting('transaction_read_only')::bool`).Scan(&version, &name, &standby, &readOnly)
		var refused *pgconn.PgError
		return errors.As(err, &refused) && refused.Code == "57P03", err
	})
	switch {
	case err != nil:
		return fmt.Errorf("cannot be reached: %s", connectFault(err))
	case version < oldestPostgres*10_000:
		return fmt.Errorf("is PostgreSQL %s: %d or newer is needed", name, oldestPostgres)
	case standby:
		return errors.New("is a standby, which takes no orders: use its primary")
	case readOnly:
		return errors.New("is read-only for this user: see default_transaction_read_only")
	}
	return nil
}

// connectFault is the core of a failed connection: pgx lists every attempt on a line of its own.
func connectFault(err error) string {
	var refused *pgconn.PgError
	var network *net.OpError
	switch {
	case errors.As(err, &refused) && refused.Code == "42704": // of sessionSettings
		return fmt.Sprintf("%s: %d or newer is needed", refused.Message, oldestPostgres)
	case errors.As(err, &refused):
		return refused.Message
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", openWait)
	case errors.As(err, &network):
		return network.Err.Error()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func whereabouts(config *pgx.ConnConfig) string {
	if strings.HasPrefix(config.Host, "/") {
		return fmt.Sprintf("%s in %s", config.Database, config.Host)
	}
	return fmt.Sprintf("%s at %s", config.Database, net.JoinHostPort(config.Host, fmt.Sprint(config.Port)))
}

// ReadOnly tells whether the database takes no orders now: it is a standby, or somebody has set it so.
func ReadOnly(ctx context.Context, q Querier) (readOnly bool, err error) {
	err = q.QueryRow(ctx, `select current_setting('transaction_read_only')::bool`).Scan(&readOnly)
	return readOnly, err
}

// Warnings lists what about the server will be regretted, one sentence each: settings with which an order that was
// acknowledged can be lost, and room for fewer connections than a process with a pool of so many makes at most.
func Warnings(ctx context.Context, q Querier, poolMost int32) ([]string, error) {
	rows, err := q.Query(ctx, `
    select name || ' is off: a crash of the machine can lose or damage orders that were acknowledged'
    from pg_settings
    where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
    union all
    select format('%s leaves room for %s connections, and this process makes up to %s: under load some of its requests will fail', limits.name, room, $1::int)
    from (values ('max_connections', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int),
                 ('its role', (select rolconnlimit from pg_roles where rolname = current_user and not rolsuper))) as limits(name, room)
    where room between 0 and $1 - 1
    order by 1`, poolMost+relaxedSize(poolMost)+1) // one more listens to other processes
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Name tells this database from all others, also of other clusters, and stays when it is renamed.
func Name(ctx context.Context, q Querier) (name string, err error) {
	err = q.QueryRow(ctx, `
    select (select system_identifier from pg_control_system()) || '-' || oid
    from pg_database
    where datname = current_database()`).Scan(&name)
	return name, err
}
