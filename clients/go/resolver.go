package callback

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/resolver"
)

const (
	// serverNames is the scheme, for gRPC, of the targets whose names this package looks up. The resolver of gRPC knows no
	// list of names. It looks a single name up again only when a connection is lost, so it would not leave an address that
	// the name no longer has.
	serverNames = "callback-servers"

	// anyAddress is the service configuration of a connection to any address of a target.
	anyAddress = `{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}`

	// lookUpInterval is the longest interval between two look-ups. The real one is random, from 80 % of it.
	lookUpInterval = 5 * time.Second

	// lookUpPause is the shortest interval between two look-ups because of failures.
	lookUpPause = time.Second
)

// lookUpHost looks a name up.
var lookUpHost = net.DefaultResolver.LookupHost

// namesDNSServer returns whether a target of the scheme dns has a DNS server: dns://SERVER/HOST:PORT.
func namesDNSServer(target string) bool {
	rest, isAbsolute := strings.CutPrefix(target, "dns://")
	return isAbsolute && !strings.HasPrefix(rest, "/")
}

// resolverBuilder resolves targets that list servers: ipv4:10.0.0.1:50051,10.0.0.2:50051, as every other gRPC knows them,
// server-1:50051,server-2:50051, and a single name.
type resolverBuilder struct {
	scheme string
	// hasNames says whether the certificate of each server must be for its host.
	hasNames bool
}

func (b resolverBuilder) Scheme() string { return b.scheme }

func (b resolverBuilder) Build(target resolver.Target, to resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	result := &nameResolver{
		servers:  strings.Split(target.Endpoint(), ","),
		hasNames: b.hasNames,
		to:       to,
		known:    map[string][]string{},
		soon:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	ctx, stop := context.WithCancel(context.Background())
	result.stop = stop
	go result.run(ctx)
	return result, nil
}

// nameResolver looks the names of servers up again and again, and tells gRPC when their addresses have changed.
type nameResolver struct {
	servers  []string
	hasNames bool
	to       resolver.ClientConn
	// known has the last addresses of each server.
	known map[string][]string
	soon  chan struct{}
	stop  context.CancelFunc
	ended chan struct{}
}

// ResolveNow looks up soon: gRPC calls it when a connection is lost, or fails.
func (r *nameResolver) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case r.soon <- struct{}{}:
	default:
	}
}

func (r *nameResolver) Close() {
	r.stop()
	<-r.ended
}

func (r *nameResolver) run(ctx context.Context) {
	defer close(r.ended)
	var used []string
	for {
		addresses, err := r.lookUp(ctx)
		now := make([]string, len(addresses))
		for index, address := range addresses {
			now[index] = address.Addr
		}
		slices.Sort(now)
		switch {
		case ctx.Err() != nil:
			return
		case len(now) > 0 && !slices.Equal(now, used):
			used = now
			_ = r.to.UpdateState(resolver.State{Addresses: addresses}) // gRPC looks again if it cannot use them
		case len(used) == 0:
			r.to.ReportError(err)
		}
		if !r.hasHostNames() || !r.pause(ctx) {
			return
		}
	}
}

func (r *nameResolver) hasHostNames() bool {
	return slices.ContainsFunc(r.servers, func(server string) bool {
		host, _, _ := net.SplitHostPort(server)
		return net.ParseIP(host) == nil
	})
}

// pause waits for the next look-up. It returns false if there is none.
func (r *nameResolver) pause(ctx context.Context) bool {
	if !sleep(ctx, lookUpPause) {
		return false
	}
	regular := time.NewTimer(time.Duration(float64(lookUpInterval)*(0.8+rand.Float64()/5)) - lookUpPause)
	defer regular.Stop()
	select {
	case <-regular.C:
	case <-r.soon:
	case <-ctx.Done():
		return false
	}
	return true
}

// lookUp returns the addresses of all servers, in order. A name that does not exist is left out. While the resolver fails,
// the last addresses stay. Without any address there is an error.
func (r *nameResolver) lookUp(ctx context.Context) ([]resolver.Address, error) {
	var addresses []resolver.Address
	var failures []error
	for _, server := range r.servers {
		host, port, err := net.SplitHostPort(server)
		if err == nil {
			var found []string
			found, err = lookUpHost(ctx, host)
			var missing *net.DNSError
			if err == nil || errors.As(err, &missing) && missing.IsNotFound {
				r.known[server] = found
			}
		}
		if err != nil {
			failures = append(failures, err)
		}
		for _, ip := range r.known[server] {
			address := resolver.Address{Addr: net.JoinHostPort(ip, port)}
			if r.hasNames {
				address.ServerName = server
			}
			addresses = append(addresses, address)
		}
	}
	return addresses, errors.Join(failures...)
}
