package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// asProgram makes the test binary be the program: building it for the tests takes longer than they do.
const asProgram = "FRENCHPRESS_TEST_AS_PROGRAM"

func init() {
	if os.Getenv(asProgram) != "" {
		version = "v1.2.3"
		main()
		os.Exit(0)
	}
}

// newProgram prepares a run of the program with nothing in its environment but settings.
func newProgram(t *testing.T, settings []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, settings...)
	return cmd
}

// runProgram runs it to its end.
func runProgram(t *testing.T, input string, settings []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := newProgram(t, settings, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestCommands(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	settings := []string{"DATABASE_URL=" + url}
	pool, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	good := func(input string, args ...string) string {
		t.Helper()
		stdout, stderr, code := runProgram(t, input, settings, args...)
		if code != 0 {
			t.Fatalf("%v: exit %d, %s", args, code, stderr)
		}
		return stdout
	}

	token := strings.TrimSuffix(good("", "pair", testStore), "\n")
	device, err := db.DeviceByToken(t.Context(), pool, token)
	if err != nil {
		t.Fatalf("pair printed %q: %v", token, err)
	}
	if listed := good("", "devices", testStore); !strings.Contains(listed, device.ID.String()) || !strings.Contains(listed, device.Name) {
		t.Errorf("devices: %s", listed)
	}
	if said := good("", "pair", testStore, "--revoke", device.ID.String()); said != "" {
		t.Errorf("revoking printed %q", said)
	}
	if _, err := db.DeviceByToken(t.Context(), pool, token); !errors.Is(err, db.ErrUnknownToken) {
		t.Errorf("revoked, and yet %v", err)
	}

	good("", "seed", "--stores", "20")
	good("", "seed", "--stores", "20")
	lines := strings.Split(strings.TrimSuffix(good("", "pair", "--all"), "\n"), "\n")
	if len(lines) != 20 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		slug, token, ok := strings.Cut(line, " ")
		if _, err := db.DeviceByToken(t.Context(), pool, token); !ok || slug == "" || err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}

	first := strings.TrimSuffix(good("", "staff", "add", "mia"), "\n")
	second := strings.TrimSuffix(good("", "staff", "add", "mia", "--role", "support"), "\n")
	if _, err := db.StaffByToken(t.Context(), pool, first); !errors.Is(err, db.ErrUnknownToken) {
		t.Errorf("the token of before: %v", err)
	}
	if staff, err := db.StaffByToken(t.Context(), pool, second); err != nil || staff.Role != db.Support {
		t.Errorf("%+v, %v", staff, err)
	}
	good("correct horse\r\n", "staff", "password", "mia")
	if _, err := db.CheckPassword(t.Context(), pool, "mia", "correct horse"); err != nil {
		t.Error(err)
	}
	good("", "staff", "email", "mia", "mia@example.com")
	var email string
	if err := pool.QueryRow(t.Context(), `select email from staff where name = 'mia'`).Scan(&email); err != nil || email != "mia@example.com" {
		t.Errorf("the address is %q, %v", email, err)
	}
	if said := good("", "announce", "A cup on us."); !regexp.MustCompile(`^[0-9a-f-]{36} 0\n$`).MatchString(said) {
		t.Errorf("announce printed %q", said)
	}
	good("And another.\n", "announce")
	var texts []string
	err = pool.QueryRow(t.Context(), `
    select array_agg(c.text order by c.id)
    from campaigns c
    join river_job j on j.args @> jsonb_build_object('campaign', c.id::text) and j.kind = 'announce'`).Scan(&texts)
	if err != nil || strings.Join(texts, "|") != "A cup on us.|And another." {
		t.Errorf("announced %q, %v", texts, err)
	}
	good("", "staff", "disable", "mia")
	if said := good("", "version"); said != "v1.2.3\n" {
		t.Errorf("version %q", said)
	}
	var audited int
	if err := pool.QueryRow(t.Context(), `select count(*) from audit where actor = 'operator'`).Scan(&audited); err != nil || audited != 10 {
		t.Errorf("%d actions are in the audit, %v", audited, err)
	}
}

func TestCommandsRefuseInOneSentence(t *testing.T) {
	t.Parallel()
	settings := []string{"DATABASE_URL=" + dbtest.URL(t)}
	for name, test := range map[string]struct {
		settings []string
		args     []string
		input    string
		want     string
	}{
		"no such store":       {settings, []string{"pair", "nope"}, "", `there is no store "nope"`},
		"no store":            {settings, []string{"pair"}, "", "name one store"},
		"store and all":       {settings, []string{"pair", testStore, "--all"}, "", "name one store"},
		"no such device":      {settings, []string{"pair", testStore, "--revoke", "019ab6c0-5f00-7abc-8def-0123456789ab"}, "", "no such device"},
		"malformed device":    {settings, []string{"pair", testStore, "--revoke", "x"}, "", "--revoke"},
		"no such flag":        {settings, []string{"pair", "--bogus"}, "", "--bogus"},
		"no such command":     {settings, []string{"brew"}, "", "brew"},
		"no stores":           {settings, []string{"seed", "--stores", "0"}, "", "from 1 to"},
		"bad name":            {settings, []string{"staff", "add", "a b"}, "", "a name is"},
		"bad role":            {settings, []string{"staff", "add", "mia", "--role", "king"}, "", "--role"},
		"weak password":       {settings, []string{"staff", "password", "mia"}, "short\n", "at least 10"},
		"nobody":              {settings, []string{"staff", "password", "eve"}, "correct horse\n", `there is no "eve"`},
		"no address":          {settings, []string{"staff", "email", "mia", "nowhere"}, "", "no e-mail address"},
		"nobody to write to":  {settings, []string{"staff", "email", "eve", "eve@example.com"}, "", `there is no "eve"`},
		"two lines":           {settings, []string{"announce"}, "two\nlines\n", "control characters"},
		"nothing to say":      {settings, []string{"announce"}, "", "must not be empty"},
		"nowhere to listen":   {settings, []string{"sandbox", "--dir", t.TempDir(), "--listen", "127.0.0.1:nowhere"}, "", "listen for the sandbox"},
		"bad setting":         {[]string{"PORT=x"}, nil, "", "PORT"},
		"no database":         {[]string{"DATABASE_URL=postgres://u:s3cret@127.0.0.1:1/x"}, nil, "", "cannot be reached"},
		"no database to pair": {[]string{"DATABASE_URL=postgres://u:s3cret@127.0.0.1:1/x"}, []string{"pair", testStore}, "", "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := runProgram(t, test.input, test.settings, test.args...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "s3cret") {
				t.Errorf("exit %d, out %q, said %q, want %q", code, stdout, stderr, test.want)
			}
		})
	}
}

func TestSignalEndsTheProgram(t *testing.T) {
	t.Parallel()
	cmd := newProgram(t, []string{"DATABASE_URL=" + dbtest.URL(t), "DATA_DIR=" + t.TempDir(), "HOST=127.0.0.1", "PORT=0"})
	said := new(logged)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`"url":"(http://[^"]+)"`)
	for limit := time.Now().Add(20 * time.Second); !address.MatchString(said.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("does not start: %s", said)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Contains(said.String(), `"level":"ERROR"`) {
		t.Errorf("%v: %s", err, said)
	}
}
