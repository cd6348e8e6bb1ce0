package turn

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// loggers gives pion/turn its logger. What it has to say is about what clients send, so nothing of it is more than debugging; and nothing of it is
// formatted when nobody reads it.
type loggers struct{ log *slog.Logger }

func (l loggers) NewLogger(string) logging.LeveledLogger { return logger(l) }

type logger struct{ log *slog.Logger }

func (l logger) Trace(string)          {}
func (l logger) Tracef(string, ...any) {}
func (l logger) Debug(string)          {}
func (l logger) Debugf(string, ...any) {}
func (l logger) Info(msg string)       { l.log.Debug("turn: " + msg) }
func (l logger) Warn(msg string)       { l.log.Debug("turn: " + msg) }
func (l logger) Error(msg string)      { l.log.Debug("turn: " + msg) }

func (l logger) Infof(format string, args ...any)  { l.say(format, args) }
func (l logger) Warnf(format string, args ...any)  { l.say(format, args) }
func (l logger) Errorf(format string, args ...any) { l.say(format, args) }

func (l logger) say(format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("turn: " + fmt.Sprintf(format, args...))
	}
}
