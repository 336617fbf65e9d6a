package db

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ResetLife is how long the code of a password reset is valid.
const ResetLife = 15 * time.Minute

// resetPause is how long a code stands before another request replaces it: whoever else asks in somebody's name must
// neither make their code worthless while they type it nor fill their mailbox.
const resetPause = time.Minute

// ErrWrongCode says that name and code do not belong together, or that the code is used, too old or was replaced
// by another.
var ErrWrongCode = errors.New("the name or the code is wrong, or the code is too old")

// PasswordReset is a request of a member of staff for a new password.
type PasswordReset struct {
	ID           uuid.UUID
	Name         string
	Email        string
	PasswordHash string // of before; empty for none
	CreatedAt    time.Time
	UsedAt       *time.Time
}

// RequestReset notes that somebody asked for a new password and hands the request to then, in one transaction.
// Nobody of that name, or nobody with an address, leaves a request that no FindReset finds: all the rest is done
// for them too, so that the time it takes tells nothing.
func RequestReset(ctx context.Context, pool *pgxpool.Pool, name string, then func(context.Context, pgx.Tx, uuid.UUID) error) error {
	id := newID(time.Now())
	if !staffName.MatchString(name) {
		name = "" // nobody's
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
    insert into password_resets (staff_id, id)
    select staff_id, $2
    from staff
    where name = $1 and disabled_at is null and email is not null
    on conflict (staff_id) do update
    set id = excluded.id, created_at = now(), used_at = null
    where password_resets.used_at is not null or password_resets.created_at < now() - $3::interval`, name, id, resetPause); err != nil {
			return err
		}
		return then(ctx, tx, id)
	})
}

const selectReset = `
    select r.id, s.name, coalesce(s.email, ''), coalesce(s.password_hash, ''), r.created_at, r.used_at
    from password_resets r
    join staff s on s.staff_id = r.staff_id
    where s.disabled_at is null`

// FindReset is a request, or ErrNotFound: there was nobody, they were disabled, or they asked again.
func FindReset(ctx context.Context, q Querier, id uuid.UUID) (*PasswordReset, error) {
	rows, err := q.Query(ctx, selectReset+` and r.id = $1`, id)
	return oneRow[PasswordReset](rows, err, ErrNotFound)
}

// Stale is why the code is worth nothing any more, empty while it is valid.
func (r *PasswordReset) Stale(now time.Time) string {
	switch {
	case r.UsedAt != nil:
		return "the code has been used"
	case now.Sub(r.CreatedAt) >= ResetLife:
		return "the code is too old"
	}
	return ""
}

// codeAlphabet is Crockford's: no letter looks like a digit.
var codeAlphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// codeGroup is the characters of each of the two groups of a code. Both together are 50 bits, which nobody guesses
// in 15 minutes at 5 attempts a minute.
const codeGroup = 5

// Code is what proves that somebody reads the mail of the member of staff. It is derived and never stored, and
// comes to nothing when the password or the address changes.
func (r *PasswordReset) Code(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("password reset\x00"))
	mac.Write(r.ID[:])
	mac.Write([]byte(r.PasswordHash + "\x00" + r.Email))
	code := codeAlphabet.EncodeToString(mac.Sum(nil))
	return code[:codeGroup] + "-" + code[codeGroup:2*codeGroup]
}

// typed forgives what people make of a code: small letters, spaces, and letters that look like digits.
var typed = strings.NewReplacer(" ", "", "-", "", "O", "0", "I", "1", "L", "1")

func sameCode(a, b string) bool {
	return hmac.Equal([]byte(typed.Replace(strings.ToUpper(a))), []byte(typed.Replace(strings.ToUpper(b))))
}

// ResetPassword gives a new password to who knows the code, once, or returns ErrWrongCode. See PasswordFault for what
// is no password.
func ResetPassword(ctx context.Context, pool *pgxpool.Pool, secret []byte, name, code, password string) error {
	if !staffName.MatchString(name) {
		return ErrWrongCode
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectReset+` and s.name = $1 for update`, name)
		reset, err := oneRow[PasswordReset](rows, err, ErrWrongCode)
		switch {
		case err != nil:
			return err
		case !sameCode(code, reset.Code(secret)) || reset.Stale(time.Now()) != "":
			return ErrWrongCode
		}
		if err := SetPassword(ctx, tx, name, password); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update password_resets set used_at = now() where id = $1`, reset.ID); err != nil {
			return err
		}
		return Audit(ctx, tx, Chain, name, "staff.password_reset", nil)
	})
}
