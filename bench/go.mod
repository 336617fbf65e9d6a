module frenchpress/bench

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // latencies that keep their tail
	github.com/Shopify/toxiproxy/v2 v2.5.0 // makes the network slow, broken or silent
	github.com/alecthomas/kong v1.17.0 // the command line
	github.com/gobwas/ws v1.5.0 // WebSocket frames on connections of our own
	github.com/google/pprof v0.0.0-20261105003125-4bf881d7fb0b // takes the path of the program out of a profile
	github.com/google/uuid v1.6.0 // ids of commands, idempotency keys
	github.com/jackc/pgx/v5 v5.12.0 // asks a database whether it is durable
	github.com/labstack/echo/v4 v4.16.0 // the bare handler to compare with
	github.com/rs/zerolog v1.28.0 // what toxiproxy wants to log with: nothing
	github.com/tidwall/gjson v1.20.1 // a few fields out of long answers, without copying
	github.com/valyala/fasthttp v1.78.0 // reads HTTP answers into memory that is used again
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.1.2 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/golang/protobuf v1.5.2 // indirect
	github.com/gorilla/mux v1.8.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/labstack/gommon v0.5.0 // indirect
	github.com/mattn/go-colorable v0.1.15 // indirect
	github.com/mattn/go-isatty v0.0.22 // indirect
	github.com/matttproud/golang_protobuf_extensions v1.0.1 // indirect
	github.com/molecule-man/go-brrr v1.3.1 // indirect
	github.com/prometheus/client_golang v1.13.0 // indirect
	github.com/prometheus/client_model v0.2.0 // indirect
	github.com/prometheus/common v0.37.0 // indirect
	github.com/prometheus/procfs v0.8.0 // indirect
	github.com/rs/xid v1.4.0 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/valyala/fasttemplate v1.2.2 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.28.1 // indirect
	gopkg.in/tomb.v1 v1.0.0-20141024135613-dd632973f1e7 // indirect
)
