package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
	"frenchpress/jobs"
)

const (
	headerTimeout = 5 * time.Second
	// requestTimeout bounds a request and its answer, but for live streams.
	requestTimeout = 30 * time.Second
	// handlingTimeout bounds what happens in between, and leaves time to say that it took too long. The longest waits
	// 10 s for a payment and as long for a place in a group.
	handlingTimeout = 25 * time.Second
	idleTimeout     = 2 * time.Minute
	headerLimit     = 16 << 10

	signInsAMinute = 5
	signInsKept    = 10_000
)

// Server is a running shop.
type Server struct {
	URL string

	api     *API
	cluster *db.Cluster // nil with a database of somebody else's
	http    *http.Server
	failed  chan error
	closing []func(context.Context) error // in the order of the start
}

// Run starts the shop and returns when it serves. ctx bounds the start, not the life. Whatever was started
// before an error has been stopped again.
func Run(ctx context.Context, config Config, log *slog.Logger) (*Server, error) {
	s := &Server{failed: make(chan error, 2)}
	if err := s.start(ctx, config, log); err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Close(closing))
	}
	return s, nil
}

// Failed tells of a listener that broke down by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Close stops taking requests, answers those it has, ends streams and jobs, and lets go of the database. What
// is not done when ctx ends is cut off, and taken up again at the next start.
func (s *Server) Close(ctx context.Context) error {
	var errs []error
	for _, end := range slices.Backward(s.closing) {
		errs = append(errs, end(ctx))
	}
	s.closing = nil
	return errors.Join(errs...)
}

func (s *Server) onClose(end func(context.Context) error) { s.closing = append(s.closing, end) }

func (s *Server) start(ctx context.Context, config Config, log *slog.Logger) error {
	pool, err := s.openDatabase(ctx, config, log)
	if err != nil {
		return err
	}
	s.onClose(func(ctx context.Context) error { return closePool(ctx, pool) })
	if err := db.Migrate(ctx, pool, jobs.Migrate); err != nil {
		return err
	}
	if s.cluster != nil {
		if err := db.SeedDemo(ctx, pool); err != nil {
			return fmt.Errorf("opening the demo stores: %w", err)
		}
	}
	queue, err := db.OpenRelaxed(ctx, pool)
	if err != nil {
		return err
	}
	s.onClose(func(ctx context.Context) error { return closePool(ctx, queue) })
	provider, err := s.openProvider(ctx, config, log, pool)
	if err != nil {
		return err
	}
	if s.api, err = newAPI(ctx, config, log, pool, queue, provider); err != nil {
		return err
	}
	if err := s.startWork(ctx); err != nil {
		return err
	}
	if config.OperatorAddr != "" {
		if err := s.listenForOperator(ctx, config.OperatorAddr); err != nil {
			return err
		}
	}
	return s.listen(ctx)
}

// openDatabase connects to the database of the settings, or to a private one that it starts.
func (s *Server) openDatabase(ctx context.Context, config Config, log *slog.Logger) (*pgxpool.Pool, error) {
	address := config.DatabaseURL
	if address == "" {
		cluster, err := db.StartCluster(ctx, config.DataDir)
		if err != nil {
			return nil, err
		}
		s.cluster, address = cluster, cluster.URL
		s.onClose(func(ctx context.Context) error {
			cluster.Stop(ctx)
			return nil
		})
	}
	pool, err := db.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	warnings, err := db.Warnings(ctx, pool, pool.Config().MaxConns)
	if err != nil {
		pool.Close()
		return nil, err
	}
	for _, sentence := range warnings {
		log.WarnContext(ctx, sentence)
	}
	return pool, nil
}

// newAPI opens all that handlers work with; what runs beside them is for startWork.
func newAPI(ctx context.Context, config Config, log *slog.Logger, pool, queue *pgxpool.Pool, provider *jobs.Provider) (*API, error) {
	a := &API{
		config: config, log: log, pool: pool, queue: queue, metrics: newMetrics(), sessions: newSessions(pool),
		crossOrigin: http.NewCrossOriginProtection(), hub: db.NewHub(pool),
	}
	a.setState("the server is starting")
	a.metrics.watch(a)
	var err error
	if a.pairings, err = db.OpenPairings(ctx, pool); err != nil {
		return nil, fmt.Errorf("reading the devices: %w", err)
	}
	if a.attempts, err = newThrottle(signInsAMinute, time.Minute, signInsKept); err != nil {
		return nil, err
	}
	if a.secret, err = db.Secret(ctx, pool, config.SecretKey); err != nil {
		return nil, fmt.Errorf("reading the key that signs tokens: %w", err)
	}
	changed, err := db.MarkSecret(ctx, pool, a.secret)
	if err != nil {
		return nil, fmt.Errorf("noting the key that signs tokens: %w", err)
	}
	if changed {
		log.Warn("SECRET_KEY is not the one of before: what customers got with their orders opens them no more, and processes with different keys do not know each other's")
	}
	if a.catalog, err = db.OpenCatalog(ctx, pool); err != nil {
		return nil, fmt.Errorf("reading the stores: %w", err)
	}
	if a.jobs, err = jobs.New(pool, queue, jobs.Config{
		ExpireAfter: config.ExpireAfter, AbandonAfter: config.AbandonAfter, Secret: a.secret, Provider: provider, Log: log,
	}); err != nil {
		return nil, err
	}
	a.orders = db.NewOrders(pool, a.hub, a.jobs.Outbox(), db.GroupSize{Max: config.GroupMax, Flights: config.GroupFlights})
	return a, nil
}

// setState says why the server cannot serve; empty when it can.
func (a *API) setState(why string) {
	if why == "" {
		a.state.Store(nil)
		return
	}
	a.state.Store(&why)
}

// startWork starts what goes on beside requests.
func (s *Server) startWork(ctx context.Context) error {
	a := s.api
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	loops, life := errgroup.WithContext(life)
	for _, loop := range []func(context.Context) error{a.catalog.Run, a.hub.Run, a.pairings.Run} {
		loops.Go(func() error { return loop(life) })
	}
	s.onClose(func(context.Context) error {
		stop()
		return loops.Wait()
	})
	s.onClose(a.orders.Close)
	if err := a.jobs.Start(ctx, a.orders); err != nil {
		return fmt.Errorf("starting the jobs: %w", err)
	}
	s.onClose(a.jobs.Stop)
	var err error
	a.dashboard, err = a.jobs.Dashboard(life, dashboardPath)
	return err
}

// listen opens the doors.
func (s *Server) listen(ctx context.Context) error {
	a := s.api
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.address())
	if err != nil {
		return fmt.Errorf("HOST and PORT: %w", err)
	}
	s.URL = "http://" + publicAddress(listener.Addr())
	s.http = &http.Server{
		Handler:           a.newEcho(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerLimit,
		ConnState:         noteIdle,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	// Streams never end by themselves: the hub tells their handlers to.
	s.http.RegisterOnShutdown(a.hub.Close)
	s.onClose(s.drain)
	a.doors = newDoors(listener, a.full, a.noteRefused, a.log)
	go func() {
		if err := a.doors.run(); err != nil {
			s.failed <- err
		}
	}()
	go func() {
		if err := s.http.Serve(a.doors); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	a.setState("")
	return nil
}

// drain refuses new requests and waits for those under way, and for the streams, WebSockets included.
func (s *Server) drain(ctx context.Context) error {
	s.api.setState("the server is stopping")
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for s.api.streams.Load() > 0 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// publicAddress is where a browser on this machine finds what listens there.
func publicAddress(at net.Addr) string {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return at.String()
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// closePool waits for connections that are in use, as long as ctx lets it.
func closePool(ctx context.Context, pool *pgxpool.Pool) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pool.Close()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("connections to the database are still in use: %w", ctx.Err())
	}
}
