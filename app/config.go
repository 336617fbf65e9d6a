package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Config is how the monolith is run: one field per setting, read from the environment.
type Config struct {
	Host           string         `env:"HOST"` // empty: all addresses
	Port           uint16         `env:"PORT" envDefault:"8080"`
	DatabaseURL    string         `env:"DATABASE_URL"` // empty: a private cluster under DataDir
	DataDir        string         `env:"DATA_DIR"`     // the private cluster, and the sandbox's books
	SecretKey      string         `env:"SECRET_KEY"`
	PaymentURL     string         `env:"PAYMENT_URL"` // empty: the sandbox
	PaymentKey     string         `env:"PAYMENT_KEY"`
	PaymentSecret  string         `env:"PAYMENT_WEBHOOK_SECRET"`
	SMTPURL        string         `env:"SMTP_URL"` // empty: the log
	RateLimit      *int           `env:"RATE_LIMIT"`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES"`
	ExpireAfter    time.Duration  `env:"EXPIRE_AFTER" envDefault:"15m"`
	AbandonAfter   time.Duration  `env:"ABANDON_AFTER" envDefault:"2h"`

	GroupMax     int    `env:"GROUP_MAX"`     // requests in one group commit; 0: the defaults
	GroupFlights int    `env:"GROUP_FLIGHTS"` // group commits of a kind under way at a time; 0: the default
	OperatorAddr string `env:"OPERATOR_ADDR"` // where pprof listens, host and port; empty: nowhere
}

// rateLimitDefault is for a server that others can reach, in requests a second from one client address.
const rateLimitDefault = 50

// groupMost bounds what can be asked for: beyond it a group only takes longer.
const groupMost = 4096

// readConfig reads the settings from an environment as os.Environ gives it. An empty setting counts as
// absent. The error names every setting that is wrong, in one sentence, and repeats no secret.
func readConfig(environ []string) (Config, error) {
	given := env.ToMap(environ)
	for name, value := range given {
		if value == "" {
			delete(given, name)
		}
	}
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: given}); err != nil {
		return Config{}, settingFaults(err)
	}
	c.fillIn(os.Geteuid(), given["HOME"])
	return c, c.validate()
}

func (c *Config) fillIn(uid int, home string) {
	private := c.DatabaseURL == ""
	if c.Host == "" && private {
		c.Host = "127.0.0.1"
	}
	if c.DataDir == "" && uid == 0 {
		c.DataDir = "/var/lib/frenchpress"
	}
	if c.DataDir == "" && home != "" {
		c.DataDir = filepath.Join(home, ".local/share/frenchpress")
	}
	if c.RateLimit == nil {
		limit := rateLimitDefault
		if onLoopback(c.Host) {
			limit = 0
		}
		c.RateLimit = &limit
	}
}

func (c *Config) validate() error {
	var faults []string
	check := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, fault)
		}
	}
	check(c.DatabaseURL != "" || c.DataDir != "", "DATA_DIR is needed where there is no home directory")
	check(*c.RateLimit >= 0, "RATE_LIMIT must not be negative")
	check(c.ExpireAfter > 0, "EXPIRE_AFTER must be longer than 0")
	check(c.AbandonAfter > 0, "ABANDON_AFTER must be longer than 0")
	check(c.GroupMax >= 0 && c.GroupMax <= groupMost, fmt.Sprintf("GROUP_MAX must be 0 to %d", groupMost))
	check(c.GroupFlights >= 0 && c.GroupFlights <= groupMost, fmt.Sprintf("GROUP_FLIGHTS must be 0 to %d", groupMost))
	check(c.SecretKey == "" || len(c.SecretKey) >= 32, "SECRET_KEY must have at least 32 characters")
	check(c.PaymentURL == "" || isWebAddress(c.PaymentURL), "PAYMENT_URL must be an address such as https://api.stripe.com")
	check(c.PaymentURL == "" || c.PaymentKey != "", "PAYMENT_URL needs PAYMENT_KEY")
	check(c.PaymentKey == "" || c.PaymentURL != "", "PAYMENT_KEY needs PAYMENT_URL: without it the built-in sandbox takes every card")
	check(c.PaymentKey == "" || visible(c.PaymentKey), "PAYMENT_KEY must be visible ASCII characters")
	check(c.SMTPURL == "", "SMTP_URL must be unset: this version writes mail to the log")
	if faults == nil {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

// address is where to listen, as net.Listen takes it.
func (c *Config) address() string {
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

func onLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && address.IsLoopback())
}

// isWebAddress tells whether a text is an address that can be asked, without anything that would be in the way of a path.
func isWebAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func visible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// settingFaults puts the names of settings in place of those of fields.
func settingFaults(err error) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return err
	}
	faults := make([]string, len(all.Errors))
	for i, one := range all.Errors {
		var parse env.ParseError
		if !errors.As(one, &parse) {
			faults[i] = one.Error()
			continue
		}
		field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
		faults[i] = fmt.Sprintf("%s cannot be understood: %v", field.Tag.Get("env"), root(parse.Err))
	}
	return errors.New(strings.Join(faults, "; "))
}

// root is what went wrong at the bottom, without the names of the functions that found it.
func root(err error) error {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return fmt.Errorf("%q: %w", number.Num, number.Err)
	}
	return err
}
