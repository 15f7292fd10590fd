package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// logins are the clients that were made in a context.
type logins struct {
	mu  sync.Mutex
	all []*vaultsrc.Client
}

type loginsKey struct{}

// Logins returns a context whose logins to Vault are remembered, and what ends them, within seconds and although ctx has ended: a token
// that nobody needs any more must not live on for weeks. It comes last.
func Logins(ctx context.Context) (context.Context, func() error) {
	l := new(logins)
	return context.WithValue(ctx, loginsKey{}, l), func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		var err error
		for _, c := range l.all {
			err = errors.Join(err, c.Logout(ctx))
		}
		return err
	}
}

// remember keeps a client for the end.
func remember(ctx context.Context, c *vaultsrc.Client) {
	if l, ok := ctx.Value(loginsKey{}).(*logins); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, c)
	}
}
