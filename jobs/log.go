package jobs

import (
	"context"
	"log/slog"
)

// errorsOnly is a log that keeps River's own words to errors: what a job came to is told once, by failures.
func errorsOnly(log *slog.Logger) *slog.Logger { return slog.New(errorHandler{log.Handler()}) }

type errorHandler struct{ slog.Handler }

func (h errorHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.Handler.Enabled(ctx, level)
}

func (h errorHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorHandler{h.Handler.WithAttrs(attrs)}
}

func (h errorHandler) WithGroup(name string) slog.Handler {
	return errorHandler{h.Handler.WithGroup(name)}
}
