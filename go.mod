module frenchpress

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0 // the command line
	github.com/alexedwards/argon2id v1.0.0 // staff's passwords
	github.com/alexedwards/scs/pgxstore v0.0.0-20240316134038-7e11d57e8885 // sessions in PostgreSQL
	github.com/alexedwards/scs/v2 v2.9.0 // staff's sessions
	github.com/anishathalye/porcupine v1.3.1 // tests: is a history one thing after the other
	github.com/caarlos0/env/v11 v11.4.2 // settings from the environment
	github.com/chromedp/cdproto v0.159.0 // tests: the words of chromedp
	github.com/chromedp/chromedp v0.23.0 // tests: a real browser
	github.com/coder/websocket v1.8.15 // live streams over WebSocket
	github.com/getkin/kin-openapi v0.153.0 // tests: every answer against openapi.yaml
	github.com/go-chi/httprate v0.16.1 // requests a second from one address, sliding window
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // strict JSON tokens: UTF-8, duplicate names
	github.com/google/uuid v1.6.0 // UUIDv7, which PostgreSQL 15 lacks
	github.com/hashicorp/golang-lru/v2 v2.0.7 // bounded caches
	github.com/jackc/pgx/v5 v5.12.0 // PostgreSQL
	github.com/jackc/puddle/v2 v2.2.3 // the error of pgx's closed pool
	github.com/labstack/echo/v4 v4.16.0 // HTTP
	github.com/mattn/go-isatty v0.0.24 // a log for people or for machines
	github.com/pressly/goose/v3 v3.29.0 // migrations
	github.com/prometheus/client_golang v1.25.0 // metrics
	github.com/riverqueue/river v0.51.2 // jobs
	github.com/riverqueue/river/riverdriver/riverpgxv5 v0.51.2 // jobs in our transactions
	github.com/riverqueue/river/rivertype v0.51.2 // what River's hooks are given
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // tests: the schemas of openapi.yaml, compiled once
	github.com/stripe/stripe-go/v85 v85.0.0 // the card provider's API
	github.com/stripe/stripe-mock v0.203.0 // tests: our requests against Stripe's description of its API
	github.com/vgarvardt/pgx-google-uuid/v5 v5.6.0 // UUIDs in binary: pgx by itself writes them as text and reads that
	golang.org/x/sync v0.24.0 // errgroup, singleflight
	pgregory.net/rapid v1.3.0 // tests: properties
	riverqueue.com/riverui v0.22.0 // the dashboard of jobs and dead letters
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/gabriel-vasile/mimetype v1.4.12 // indirect
	github.com/go-openapi/jsonpointer v0.22.5 // indirect
	github.com/go-openapi/swag/jsonname v0.25.5 // indirect
	github.com/go-playground/locales v0.14.1 // indirect
	github.com/go-playground/universal-translator v0.18.1 // indirect
	github.com/go-playground/validator/v10 v10.30.1 // indirect
	github.com/jackc/pgerrcode v0.0.0-20250907135507-afb5586c32a6 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/labstack/gommon v0.5.0 // indirect
	github.com/leodido/go-urn v1.4.0 // indirect
	github.com/lestrrat-go/jspointer v0.0.0-20181205001929-82fadba7561c // indirect
	github.com/lestrrat-go/jsref v0.0.0-20181205001954-1b590508f37d // indirect
	github.com/lestrrat-go/jsschema v0.0.0-20181205002244-5c81c58ffcc3 // indirect
	github.com/lestrrat-go/jsval v0.0.0-20181205002323-20277e9befc0 // indirect
	github.com/lestrrat-go/pdebug v0.0.0-20180220043849-39f9a71bcabe // indirect
	github.com/lestrrat-go/structinfo v0.0.0-20190212233437-acd51874663b // indirect
	github.com/mattn/go-colorable v0.1.15 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/pkg/errors v0.8.1-0.20170505043639-c605e284fe17 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/riverqueue/apiframe v0.0.0-20251229202423-2b52ce1c482e // indirect
	github.com/riverqueue/river/riverdriver v0.51.2 // indirect
	github.com/riverqueue/river/rivershared v0.51.2 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/tidwall/gjson v1.20.0 // indirect
	github.com/tidwall/match v1.2.0 // indirect
	github.com/tidwall/pretty v1.2.2 // indirect
	github.com/tidwall/sjson v1.2.5 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/valyala/fasttemplate v1.2.2 // indirect
	github.com/xeipuuv/gojsonschema v1.2.0 // indirect
	github.com/zeebo/xxh3 v1.0.2 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v4 v4.0.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
