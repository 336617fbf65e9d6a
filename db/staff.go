package db

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/alexedwards/argon2id"
)

// The roles of staff: admin may do everything, manager menus, stores and orders, support orders.
const (
	Admin   = "admin"
	Manager = "manager"
	Support = "support"
)

// Staff is a member of the chain's staff.
type Staff struct {
	Name         string
	Role         string
	PasswordHash *string
}

const staffColumns = `name, role, password_hash`

const (
	passwordLeast = 10 // characters
	passwordMost  = 200
)

// passwordCost takes about 30 ms and 19 MiB, the OWASP's first choice for a server with other things to do.
var passwordCost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hashing bounds the memory and the cores that passwords can take at one time.
var hashing = make(chan struct{}, 2)

// noPassword stands in for a hash that is missing, so that an unknown name takes as long as a known one.
var noPassword = sync.OnceValues(func() (string, error) { return argon2id.CreateHash("", passwordCost) })

var (
	// ErrWrongPassword says that name and password do not belong together, whichever of them is wrong.
	ErrWrongPassword = errors.New("the name or the password is wrong")

	emailPattern = regexp.MustCompile(`^[^\s@"<>(),;:\\\[\]]{1,64}@[^\s@"<>(),;:\\\[\]]{1,189}$`)

	emptyLabel = regexp.MustCompile(`(^|[.@])([.@]|$)`)

	staffName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,79}$`)
)

// AddStaff makes a member of staff and returns a token for the API, which cannot be shown again. A name
// that exists gets a new token in place of the old one and is let in again if it had been disabled. An empty
// role is admin for somebody new and no change for others.
func AddStaff(ctx context.Context, q Querier, name, role string) (token string, renewed bool, err error) {
	if !staffName.MatchString(name) {
		return "", false, errors.New("a name is 1 to 80 letters, digits and . _ @ -, and begins with a letter or digit")
	}
	token = newStaffToken()
	// xmax is 0 in a row that was not there before.
	err = q.QueryRow(ctx, `
    insert into staff as s (name, role, token_hash)
    values ($1, coalesce(nullif($2, ''), 'admin'), $3)
    on conflict (name) do update
    set role = coalesce(nullif($2, ''), s.role), token_hash = excluded.token_hash, disabled_at = null
    returning s.xmax <> 0`, name, role, tokenHash(token)).Scan(&renewed)
	return token, renewed, err
}

// DisableStaff shuts a member of staff out, or returns ErrNotFound. Token, password, sessions and a code that was asked for
// are worth nothing any more, also when AddStaff lets them in again.
func DisableStaff(ctx context.Context, q Querier, name string) error {
	return orNotFound(q.Exec(ctx, `
    with asked as (
        delete from password_resets r using staff s where s.staff_id = r.staff_id and s.name = $1
    )
    update staff
    set disabled_at = coalesce(disabled_at, clock_timestamp()), token_hash = null, password_hash = null
    where name = $1`, name))
}

// StaffByToken is the member of staff that a token was given to, or ErrUnknownToken.
func StaffByToken(ctx context.Context, q Querier, token string) (*Staff, error) {
	if _, ok := decodeToken(token, staffPrefix, randomBytes); !ok {
		return nil, ErrUnknownToken
	}
	rows, err := q.Query(ctx, `
    select `+staffColumns+`
    from staff
    where token_hash = $1 and disabled_at is null`, tokenHash(token))
	return oneRow[Staff](rows, err, ErrUnknownToken)
}

// StaffByName is the member of staff of that name, or ErrNotFound; so is one who was disabled.
func StaffByName(ctx context.Context, q Querier, name string) (*Staff, error) {
	if !staffName.MatchString(name) {
		return nil, ErrNotFound
	}
	rows, err := q.Query(ctx, `
    select `+staffColumns+`
    from staff
    where name = $1 and disabled_at is null`, name)
	return oneRow[Staff](rows, err, ErrNotFound)
}

// IsEmail tells what counts as an e-mail address, beside that it holds no control character.
func IsEmail(text string) bool {
	return emailPattern.MatchString(text) && !emptyLabel.MatchString(text)
}

// SetEmail says where the mail of a member of staff goes, or returns ErrNotFound.
func SetEmail(ctx context.Context, q Querier, name, email string) error {
	if TextFault(email, 1, 254) != "" || !IsEmail(email) {
		return errors.New("this is no e-mail address")
	}
	return orNotFound(q.Exec(ctx, `
    update staff
    set email = $2
    where name = $1 and disabled_at is null`, name, email))
}

// PasswordFault says why a text is no password of 10 to 200 characters, as in "must be at least …"; empty if it is one.
func PasswordFault(password string) string { return TextFault(password, passwordLeast, passwordMost) }

// SetPassword gives a member of staff a password of 10 to 200 characters, or returns ErrNotFound.
func SetPassword(ctx context.Context, q Querier, name, password string) error {
	if fault := PasswordFault(password); fault != "" {
		return fmt.Errorf("the password %s", fault)
	}
	hash, err := hashed(ctx, func() (string, error) { return argon2id.CreateHash(password, passwordCost) })
	if err != nil {
		return err
	}
	return orNotFound(q.Exec(ctx, `
    update staff
    set password_hash = $2
    where name = $1 and disabled_at is null`, name, hash))
}

// CheckPassword is the member of staff of that name and password, or ErrWrongPassword. It takes as long
// for a name that does not exist as for a wrong password.
func CheckPassword(ctx context.Context, q Querier, name, password string) (*Staff, error) {
	hash, err := noPassword()
	if err != nil {
		return nil, err
	}
	staff, err := StaffByName(ctx, q, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	known := staff != nil && staff.PasswordHash != nil
	if known {
		hash = *staff.PasswordHash
	}
	same, err := hashed(ctx, func() (bool, error) { return argon2id.ComparePasswordAndHash(password, hash) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("checking the password of %q: %w", name, err)
	case !same || !known:
		return nil, ErrWrongPassword
	}
	return staff, nil
}

// hashed waits for its turn to hash.
func hashed[T any](ctx context.Context, hash func() (T, error)) (T, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
		return hash()
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// Stamp changes with the password: what was let in with the old one is let in no more.
func (s *Staff) Stamp() string {
	if s.PasswordHash == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(*s.PasswordHash))
	return hex.EncodeToString(sum[:8])
}

// DropExpiredSessions deletes what nobody can use any more.
func DropExpiredSessions(ctx context.Context, q Querier) error {
	_, err := q.Exec(ctx, `
    delete from sessions
    where expiry < now()`)
	return err
}

// AnyStaff tells whether anybody was ever added.
func AnyStaff(ctx context.Context, q Querier) (exists bool, err error) {
	err = q.QueryRow(ctx, `select exists (select from staff)`).Scan(&exists)
	return exists, err
}
