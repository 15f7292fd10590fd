package embedded

import (
	"fmt"
	"sync"

	"github.com/rs/zerolog"
)

// An InUseError says that another process has the data directory.
type InUseError struct{ Dir string }

// Error names the directory and the remedy.
func (e *InUseError) Error() string {
	return fmt.Sprintf("the data directory %s is used by another rotator: stop it, or give this one another data directory, or set nats.url to share one NATS", e.Dir)
}

// A logger passes on what the server has to say. Its notices are only of use when something is wrong.
type logger struct {
	log zerolog.Logger
	mu  sync.Mutex
	err string
}

// Noticef logs at debug level.
func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug().Str("from", "nats-server").Msgf(format, v...)
}

// Warnf logs a warning.
func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn().Str("from", "nats-server").Msgf(format, v...)
}

// Fatalf logs an error; it does not end the process.
func (l *logger) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

// Errorf logs an error and keeps it for Start.
func (l *logger) Errorf(format string, v ...any) {
	l.log.Error().Str("from", "nats-server").Msgf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = fmt.Sprintf(format, v...)
}

// Debugf says nothing: the rotator does not debug the server.
func (l *logger) Debugf(string, ...any) {}

// Tracef says nothing, because traces would contain payloads.
func (l *logger) Tracef(string, ...any) {}

func (l *logger) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == "" {
		return ""
	}
	return ": " + l.err
}
