package main

import (
	"strings"
	"testing"
	"time"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		environ []string
		address string
		rate    int
	}{
		"private database":   {nil, "127.0.0.1:8080", 0},
		"own database":       {[]string{"DATABASE_URL=postgres:///x"}, ":8080", 50},
		"loopback":           {[]string{"DATABASE_URL=postgres:///x", "HOST=::1", "PORT=1"}, "[::1]:1", 0},
		"localhost":          {[]string{"HOST=localhost"}, "localhost:8080", 0},
		"open to all":        {[]string{"HOST=0.0.0.0", "PORT=0"}, "0.0.0.0:0", 50},
		"own limit":          {[]string{"RATE_LIMIT=7"}, "127.0.0.1:8080", 7},
		"limit off":          {[]string{"HOST=0.0.0.0", "RATE_LIMIT=0"}, "0.0.0.0:8080", 0},
		"empty is not given": {[]string{"HOST=", "PORT=", "RATE_LIMIT=", "EXPIRE_AFTER=", "SECRET_KEY="}, "127.0.0.1:8080", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := readConfig(append([]string{"HOME=/home/ada"}, test.environ...))
			if err != nil {
				t.Fatal(err)
			}
			if c.address() != test.address || *c.RateLimit != test.rate {
				t.Errorf("%s with %d a second, want %s with %d", c.address(), *c.RateLimit, test.address, test.rate)
			}
			if c.ExpireAfter != 15*time.Minute || c.AbandonAfter != 2*time.Hour {
				t.Errorf("timers %v, %v", c.ExpireAfter, c.AbandonAfter)
			}
		})
	}
}

func TestConfigDataDir(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		uid             int
		home, dir, want string
	}{
		{0, "/root", "", "/var/lib/frenchpress"},
		{1000, "/home/ada", "", "/home/ada/.local/share/frenchpress"},
		{1000, "", "", ""},
		{0, "/root", "/data", "/data"},
	} {
		c := Config{DataDir: test.dir}
		c.fillIn(test.uid, test.home)
		if c.DataDir != test.want {
			t.Errorf("uid %d in %q: %q, want %q", test.uid, test.home, c.DataDir, test.want)
		}
	}
	c := Config{ExpireAfter: 1, AbandonAfter: 1}
	c.fillIn(1000, "")
	if err := c.validate(); err == nil || !strings.Contains(err.Error(), "DATA_DIR") {
		t.Errorf("without a home: %v", err)
	}
}

func TestConfigFaultsNameTheSetting(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"PORT=coffee":                `PORT cannot be understood: "coffee": invalid syntax`,
		"PORT=65536":                 `PORT cannot be understood: "65536": value out of range`,
		"PORT=-1":                    "PORT",
		"EXPIRE_AFTER=15":            "EXPIRE_AFTER cannot be understood",
		"EXPIRE_AFTER=0s":            "EXPIRE_AFTER must be longer",
		"ABANDON_AFTER=-1h":          "ABANDON_AFTER must be longer",
		"RATE_LIMIT=many":            "RATE_LIMIT",
		"RATE_LIMIT=-1":              "RATE_LIMIT must not be negative",
		"TRUSTED_PROXIES=10.0.0.1/x": "TRUSTED_PROXIES",
		"GROUP_MAX=5000":             "GROUP_MAX must be 0 to 4096",
		"GROUP_FLIGHTS=-1":           "GROUP_FLIGHTS must be 0 to 4096",
		"SECRET_KEY=tooshort":        "SECRET_KEY must have at least 32",
		"PAYMENT_URL=pay.me":         "PAYMENT_URL must be an address",
		"PAYMENT_URL=ftp://pay.me":   "PAYMENT_URL must be an address",
		"PAYMENT_URL=http://pay.me":  "PAYMENT_URL needs PAYMENT_KEY",
		"PAYMENT_KEY=a b":            "PAYMENT_KEY must be visible",
		"PAYMENT_KEY=sk_1":           "PAYMENT_KEY needs PAYMENT_URL",
		"SMTP_URL=http://mail":       "SMTP_URL",
	} {
		_, err := readConfig([]string{"HOME=/home/ada", given})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "tooshort") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q in it", given, err, want)
		}
	}
	_, err := readConfig([]string{"PORT=x", "RATE_LIMIT=y"})
	if err == nil || !strings.Contains(err.Error(), "PORT") || !strings.Contains(err.Error(), "RATE_LIMIT") {
		t.Errorf("two at once: %v", err)
	}
}

func TestConfigProxies(t *testing.T) {
	t.Parallel()
	c, err := readConfig([]string{"HOME=/", "TRUSTED_PROXIES=10.0.0.0/8,2001:db8::/32"})
	if err != nil || len(c.TrustedProxies) != 2 || c.TrustedProxies[1].String() != "2001:db8::/32" {
		t.Errorf("%v, %v", c.TrustedProxies, err)
	}
}
