package upstream

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// LookUp asks, for all targets at once, which address their names have, and warns of each that has none. It returns when that is done, or soon
// after ctx ends: of what is still open it warns too if its time is over. Nothing is kept: each new connection asks again.
func (set Set) LookUp(ctx context.Context) {
	var wg sync.WaitGroup
	for _, u := range set {
		for _, t := range u.targets {
			if _, err := netip.ParseAddr(t.hostname); err != nil && t.hostname != "" {
				wg.Go(func() { t.lookUp(ctx) })
			}
		}
	}
	wg.Wait()
}

func (t *Target) lookUp(ctx context.Context) {
	_, err := net.DefaultResolver.LookupIPAddr(ctx, t.hostname)
	if err != nil && ctx.Err() != context.Canceled { // else nobody wants to know any more
		t.upstream.log.Warn("target has no address", "upstream", t.upstream.name, "target", t.Name, "error", err)
	}
}
