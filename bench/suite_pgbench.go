package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	limits      = "limits" // the database that pgbench writes to
	groupOrders = 50       // orders in one of its transactions
)

// limit compares what the server does with what PostgreSQL alone can do of the same statements, turn by turn: placing,
// and the whole life of an order.
func (b *bench) limit(ctx context.Context) error {
	bin, err := postgresBin()
	if err != nil {
		return err
	}
	program := filepath.Join(bin, "pgbench")
	if err := b.usual(ctx); err != nil {
		return err
	}
	if err := b.makeLimits(ctx); err != nil {
		return err
	}
	defer b.dropLimits()
	if _, err := b.pgbench(ctx, program, placingSQL); err != nil { // a database that was just filled is slower than ours, which is in use
		return err
	}
	for _, kind := range []struct{ scenario, what, script string }{
		{"place", "placing by card (ours with charges that are still to be made at the end)", placingSQL},
		{"lifecycle", "whole orders", placingSQL + movesSQL},
	} {
		if err := b.compareLimit(ctx, program, kind.scenario, kind.what, kind.script); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareLimit(ctx context.Context, program, scenario, what, script string) error {
	var ours []*Report
	var theirs []float64
	for range rounds {
		r, err := b.closed(ctx, what+", the most", scenario)
		if err != nil {
			return err
		}
		groups, err := b.pgbench(ctx, program, script)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, r), append(theirs, groups*groupOrders)
	}
	b.results.Trials = append(b.results.Trials, &Trial{Name: "pgbench, " + what, Pgbench: theirs})
	most, bound := median(ours, perSecond), middle(theirs)
	row := Row{
		What:   fmt.Sprintf("%s: the most, of what pgbench gets from the same SQL in groups of %d, %s/s", what, groupOrders, number(bound)),
		Figure: percent(most/bound) + " (" + number(most) + "/s)",
	}
	if scenario == "place" {
		row.Target, row.Outcome = "≥ 50 %", atLeast(most/bound, 0.5)
	}
	b.add(row)
	return nil
}

// pgbench runs a script of one group and gives groups a second.
func (b *bench) pgbench(ctx context.Context, program, script string) (float64, error) {
	lasts := b.lasts(10 * time.Second)
	ctx, cancel := context.WithTimeout(ctx, lasts+time.Minute)
	defer cancel()
	file := filepath.Join(b.shop.root, "group.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return 0, err
	}
	fmt.Fprintln(os.Stderr, "\n== pgbench")
	command := childCommand(ctx, program, "-n", "-f", file, "-c", "2", "-j", "2", "-T", strconv.Itoa(int(lasts.Seconds())), "-M", "prepared",
		"-D", "stores_most="+strconv.Itoa(b.Stores), "-h", b.shop.directory(), "-p", "5432", "-U", "frenchpress", limits)
	said, err := command.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w: %.1000s", err, said)
	}
	return parsePgbench(string(said))
}

var (
	pgbenchRate   = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
	pgbenchFailed = regexp.MustCompile(`(?m)^number of failed transactions: ([0-9]+)`)
)

// parsePgbench reads the transactions a second out of what pgbench says at its end.
func parsePgbench(said string) (float64, error) {
	if failed := pgbenchFailed.FindStringSubmatch(said); failed != nil && failed[1] != "0" {
		return 0, fmt.Errorf("pgbench: %s transactions failed", failed[1])
	}
	if strings.Contains(said, "Run was aborted") {
		return 0, fmt.Errorf("pgbench was aborted: %.1000s", said)
	}
	rate := pgbenchRate.FindStringSubmatch(said)
	if rate == nil {
		return 0, fmt.Errorf("pgbench says no rate: %.1000s", said)
	}
	return strconv.ParseFloat(rate[1], 64)
}

// makeLimits makes a database with the shop's tables, and with an order of this run as the model of all.
func (b *bench) makeLimits(ctx context.Context) error {
	if err := b.execute(ctx, "postgres", `drop database if exists `+limits, `create database `+limits); err != nil {
		return err
	}
	if err := b.shop.seed(ctx, b.shop.database(limits), "--stores", strconv.Itoa(b.Stores)); err != nil {
		return err
	}
	snapshot, total, err := b.model(ctx)
	if err != nil {
		return err
	}
	conn, err := b.shop.connect(ctx, limits)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `create table bench_model (snapshot text not null, total int8 not null)`); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `insert into bench_model values ($1, $2)`, snapshot, total)
	return err
}

// model is an order of middling size among those that the warming up left.
func (b *bench) model(ctx context.Context) (snapshot string, total int64, err error) {
	conn, err := b.shop.connect(ctx, "frenchpress")
	if err != nil {
		return "", 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `
    select snapshot, total
    from (select snapshot::text, total from orders where attempt = 1 limit 1001) as o
    order by length(snapshot)
    offset 500
    limit 1`).Scan(&snapshot, &total)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errors.New("fewer than 500 orders were placed before pgbench")
	}
	return snapshot, total, err
}

func (b *bench) dropLimits() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.execute(ctx, "postgres", `drop database if exists `+limits+` with (force)`); err != nil {
		b.note(err.Error())
	}
}

func (b *bench) execute(ctx context.Context, database string, statements ...string) error {
	conn, err := b.shop.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
