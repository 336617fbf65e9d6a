package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mattn/go-isatty"

	"frenchpress/db"
	"frenchpress/jobs"
	"frenchpress/jobs/sandbox"
)

// operator is the actor of what is done on the command line.
const operator = "operator"

// commands is the command line.
type commands struct {
	Serve   serveCommand   `cmd:"" default:"1" help:"Serve the shop (the default)."`
	Pair    pairCommand    `cmd:"" help:"Pair a device with a store and print its token."`
	Devices devicesCommand `cmd:"" help:"List the devices of a store."`
	Seed    seedCommand    `cmd:"" help:"Fill the database with stores."`
	Staff   struct {
		Add      staffAddCommand      `cmd:"" help:"Add somebody, or renew their token, and print it."`
		Password staffPasswordCommand `cmd:"" help:"Set the password that is read from standard input."`
		Email    staffEmailCommand    `cmd:"" help:"Set the address that a code for a new password goes to."`
		Disable  staffDisableCommand  `cmd:"" help:"Shut somebody out."`
	} `cmd:"" help:"Members of staff."`
	Announce announceCommand `cmd:"" help:"Send a text to everybody who wants news, and print the campaign's id and how many they are."`
	Sandbox  sandboxCommand  `cmd:"" help:"Run the card provider for trials as a server of its own; PAYMENT_URL then is its address, PAYMENT_KEY any sk_... ."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

type serveCommand struct{}

// Run serves until somebody asks for the end.
func (serveCommand) Run(ctx context.Context, log *slog.Logger) error {
	config, err := readConfig(os.Environ())
	if err != nil {
		return err
	}
	server, err := Run(ctx, config, log)
	if err != nil {
		return err
	}
	if err := server.welcome(ctx, os.Stdout); err != nil {
		log.Error("the shop is open, but its addresses cannot all be shown", "error", err)
	}
	log.Info("open for business", "url", server.URL, "version", programVersion(), "cards", cmp.Or(config.PaymentURL, "the built-in sandbox"))
	select {
	case <-ctx.Done():
		log.Info("closing; a second signal ends the program at once")
	case err = <-server.Failed():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	err = errors.Join(err, server.Close(closing))
	log.Info("closed", slog.Bool("clean", err == nil))
	return err
}

type pairCommand struct {
	Store  string    `arg:"" optional:"" help:"Slug of the store."`
	All    bool      `help:"Pair a new device with every store and print a line with slug and token for each."`
	Revoke uuid.UUID `help:"Revoke this device of the store instead." placeholder:"ID"`
}

// Run prints the token and nothing else.
func (p *pairCommand) Run(ctx context.Context) error {
	if p.All == (p.Store != "") || (p.All && p.Revoke != uuid.Nil) {
		return errors.New("name one store, or give --all")
	}
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		if p.All {
			return pairAll(ctx, pool)
		}
		storeID, err := storeNamed(ctx, pool, p.Store)
		if err != nil {
			return err
		}
		if p.Revoke != uuid.Nil {
			return p.revoke(ctx, pool, storeID)
		}
		token, err := pairDevice(ctx, pool, storeID)
		if err != nil {
			return err
		}
		_, err = fmt.Println(token)
		return err
	})
}

func pairDevice(ctx context.Context, pool *pgxpool.Pool, storeID int32) (token string, err error) {
	err = audited(ctx, pool, storeID, "device.paired", nil, func(tx pgx.Tx) error {
		token, err = db.PairDevice(ctx, tx, storeID)
		return err
	})
	return token, err
}

func (p *pairCommand) revoke(ctx context.Context, pool *pgxpool.Pool, storeID int32) error {
	err := audited(ctx, pool, storeID, "device.revoked", map[string]any{"device": p.Revoke}, func(tx pgx.Tx) error {
		return db.RevokeDevice(ctx, tx, storeID, p.Revoke)
	})
	if errors.Is(err, db.ErrNotFound) {
		return fmt.Errorf("%s has no such device that could be revoked", p.Store)
	}
	return err
}

// pairAll prints after the commit: a token that was shown works.
func pairAll(ctx context.Context, pool *pgxpool.Pool) error {
	var lines strings.Builder
	err := audited(ctx, pool, db.Chain, "device.paired", map[string]any{"stores": "all"}, func(tx pgx.Tx) error {
		return db.PairAll(ctx, tx, func(slug, token string) { fmt.Fprintln(&lines, slug, token) })
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, lines.String())
	return err
}

type devicesCommand struct {
	Store string `arg:"" help:"Slug of the store."`
}

// Run lists devices, newest first.
func (d *devicesCommand) Run(ctx context.Context) error {
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		storeID, err := storeNamed(ctx, pool, d.Store)
		if err != nil {
			return err
		}
		devices, err := db.Devices(ctx, pool, storeID)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tPAIRED\tREVOKED")
		for _, device := range devices {
			revoked := "-"
			if device.RevokedAt != nil {
				revoked = device.RevokedAt.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", device.ID, device.Name, device.CreatedAt.UTC().Format(time.RFC3339), revoked)
		}
		return table.Flush()
	})
}

type seedCommand struct {
	Stores int `required:"" help:"How many stores there are to be at least."`
	Orders int `help:"How many orders of the past month to add, to try out a large database."`
}

// Run adds what is missing.
func (s *seedCommand) Run(ctx context.Context) error {
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		if err := db.Seed(ctx, pool, s.Stores); err != nil {
			return err
		}
		return db.SeedOrders(ctx, pool, s.Orders)
	})
}

type staffAddCommand struct {
	Name string `arg:"" help:"Name to sign in with."`
	Role string `enum:"admin,manager,support," default:"" help:"admin, manager or support; admin for somebody new, unchanged for others."`
}

// Run prints the token and nothing else on standard output.
func (s *staffAddCommand) Run(ctx context.Context, log *slog.Logger) error {
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		var token string
		var renewed bool
		err := audited(ctx, pool, db.Chain, "staff.added", map[string]any{"name": s.Name, "role": s.Role}, func(tx pgx.Tx) (err error) {
			token, renewed, err = db.AddStaff(ctx, tx, s.Name, s.Role)
			return err
		})
		if err != nil {
			return err
		}
		if renewed {
			log.Info("there is a new token now; the one of before is worth nothing any more", "name", s.Name)
		}
		_, err = fmt.Println(token)
		return err
	})
}

type staffPasswordCommand struct {
	Name string `arg:"" help:"Name of the member of staff."`
}

// Run reads one line from standard input.
func (s *staffPasswordCommand) Run(ctx context.Context) error {
	if isatty.IsTerminal(os.Stdin.Fd()) {
		fmt.Fprintf(os.Stderr, "New password of %s (it will be shown): ", s.Name)
	}
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	password := strings.TrimRight(line, "\r\n")
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		return unknownStaff(s.Name, audited(ctx, pool, db.Chain, "staff.password_set", map[string]any{"name": s.Name}, func(tx pgx.Tx) error {
			return db.SetPassword(ctx, tx, s.Name, password)
		}))
	})
}

type staffEmailCommand struct {
	Name    string `arg:"" help:"Name of the member of staff."`
	Address string `arg:"" help:"E-mail address."`
}

// Run says nothing.
func (s *staffEmailCommand) Run(ctx context.Context) error {
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		return unknownStaff(s.Name, audited(ctx, pool, db.Chain, "staff.email_set", map[string]any{"name": s.Name}, func(tx pgx.Tx) error {
			return db.SetEmail(ctx, tx, s.Name, s.Address)
		}))
	})
}

type staffDisableCommand struct {
	Name string `arg:"" help:"Name of the member of staff."`
}

// Run ends token, password and sessions; staff add lets the same person in again, with a new token and, once it is set, a
// new password.
func (s *staffDisableCommand) Run(ctx context.Context) error {
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		return unknownStaff(s.Name, audited(ctx, pool, db.Chain, "staff.disabled", map[string]any{"name": s.Name}, func(tx pgx.Tx) error {
			return db.DisableStaff(ctx, tx, s.Name)
		}))
	})
}

type announceCommand struct {
	Text string `arg:"" optional:"" help:"1 to 500 characters; read from standard input if it is not given."`
}

// Run prints one line. The messages are sent by the process that serves.
func (a *announceCommand) Run(ctx context.Context, log *slog.Logger) error {
	text := a.Text
	if text == "" {
		given, err := io.ReadAll(io.LimitReader(os.Stdin, 4<<10))
		if err != nil {
			return err
		}
		text = strings.TrimRight(string(given), "\r\n")
	}
	return withDatabase(ctx, func(pool *pgxpool.Pool) error {
		client, err := jobs.New(pool, pool, jobs.Config{Log: log})
		if err != nil {
			return err
		}
		var campaign uuid.UUID
		var subscribers int
		err = audited(ctx, pool, db.Chain, "campaign.announced", map[string]any{"text": text}, func(tx pgx.Tx) error {
			campaign, subscribers, err = client.Announce(ctx, tx, text)
			return err
		})
		if err != nil {
			return err
		}
		_, err = fmt.Println(campaign, subscribers)
		return err
	})
}

type sandboxCommand struct {
	Listen        string        `default:"127.0.0.1:12111" help:"Address to listen on."`
	Dir           string        `required:"" help:"Directory for its books."`
	Webhook       string        `help:"Where it tells of things, such as http://localhost:8080/v1/payments/webhook." placeholder:"URL"`
	WebhookSecret string        `help:"Signs what it tells; PAYMENT_WEBHOOK_SECRET of the shop."`
	Faults        string        `help:"Faults by rate, as JSON such as {\"timeout_after\": 0.1}." default:"{}"`
	Stall         time.Duration `help:"How long a stalled call takes." default:"30s"`
}

// Run serves until somebody asks for the end.
func (s *sandboxCommand) Run(ctx context.Context, log *slog.Logger) error {
	options := sandbox.Options{WebhookURL: s.Webhook, WebhookSecret: s.WebhookSecret, Stall: s.Stall, Log: log}
	faults := json.NewDecoder(strings.NewReader(s.Faults))
	faults.DisallowUnknownFields()
	if err := faults.Decode(&options.Faults); err != nil {
		return fmt.Errorf("--faults cannot be understood: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen for the sandbox: %w", err)
	}
	return sandbox.Serve(ctx, s.Dir, listener, options)
}

type versionCommand struct{}

// Run prints one line.
func (versionCommand) Run() error {
	_, err := fmt.Println(programVersion())
	return err
}

// withDatabase opens the database of the settings for a short command. The private one is started if
// nobody has it running.
func withDatabase(ctx context.Context, fn func(*pgxpool.Pool) error) error {
	config, err := readConfig(os.Environ())
	if err != nil {
		return err
	}
	address := config.DatabaseURL
	if address == "" {
		cluster, err := db.OpenCluster(ctx, config.DataDir)
		if err != nil {
			return err
		}
		defer func() {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
			defer cancel()
			cluster.Stop(closing)
		}()
		address = cluster.URL
	}
	pool, err := db.Open(ctx, address)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := db.Migrate(ctx, pool, jobs.Migrate); err != nil {
		return err
	}
	if config.DatabaseURL == "" {
		if err := db.SeedDemo(ctx, pool); err != nil {
			return err
		}
	}
	return fn(pool)
}

// audited records what fn does, with it or not at all.
func audited(ctx context.Context, pool *pgxpool.Pool, storeID int32, action string, detail any, fn func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return db.Audit(ctx, tx, storeID, operator, action, detail)
	})
}

func storeNamed(ctx context.Context, pool *pgxpool.Pool, slug string) (id int32, err error) {
	catalog, err := db.OpenCatalog(ctx, pool)
	if err != nil {
		return 0, err
	}
	store, ok := catalog.Store(slug)
	if !ok {
		return 0, fmt.Errorf("there is no store %q", slug)
	}
	return store.ID, nil
}

func unknownStaff(name string, err error) error {
	if errors.Is(err, db.ErrNotFound) {
		return fmt.Errorf("there is no %q among the staff: add them first", name)
	}
	return err
}
