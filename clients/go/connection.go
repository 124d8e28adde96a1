package callback

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// maxMessageBytes is the largest message accepted. The server has the same limit.
const maxMessageBytes = 16 << 20

// connection is how to connect to a server.
type connection struct {
	target string
	*settings
}

func newConnection(target string, given *settings) (*connection, error) {
	if problem := targetProblem(target); problem != "" {
		return nil, fmt.Errorf("callback: the target %q %s", target, problem)
	}
	if given.token != nil && given.credentials == nil && !isLocal(target) {
		given.logger.Warn("token_sent_in_plain_text", "target", target, "hint", "use WithTLS to encrypt the connection")
	}
	return &connection{target: target, settings: given}, nil
}

// haveFilesChanged returns whether the file of the token, or those for TLS, have changed since they were last read.
func (c *connection) haveFilesChanged() bool {
	if c.tokenFile != nil && c.tokenFile.hasChanged() {
		return true
	}
	given, isFiles := c.credentials.(*fileCredentials)
	return isFiles && given.files.hasChanged()
}

// open returns a connection of gRPC, which connects with its first request.
func (c *connection) open(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	transport := c.credentials
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("callback-go/" + Version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		// Connections to an internal service do not use the web proxy that the environment may name.
		grpc.WithNoProxy(),
		// Pings detect a dead peer while a call waits. gRPC pings no more often than every 10 seconds.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		// Reconnect to a restarted server within two seconds; gRPC would wait up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
	}
	// The certificate of each server of a list is checked for the host of that server, unless one name is given for all.
	for _, scheme := range []string{"ipv4", "ipv6", serverNames} {
		options = append(options, grpc.WithResolvers(resolverBuilder{scheme, c.serverName == ""}))
	}
	target := c.target
	scheme, servers := targetParts(target)
	if scheme == "" || scheme == "dns" && !namesDNSServer(target) {
		target = serverNames + ":///" + strings.Join(servers, ",")
		if len(servers) == 1 { // any address of a name is as good as another one; a list has an order
			options = append(options, grpc.WithDefaultServiceConfig(anyAddress))
		}
	}
	options = append(options, more...)
	opened, err := grpc.NewClient(target, append(options, c.dialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("callback: the target %q: %w", c.target, err)
	}
	return opened, nil
}

// outgoing returns the context of a request: with the token, and with the trace context of the caller.
func (c *connection) outgoing(ctx context.Context) (context.Context, *Error) {
	fields := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, fields)
	if c.token != nil {
		token, err := c.token(ctx)
		if err != nil && ctx.Err() != nil {
			return nil, &Error{Code: codes.DeadlineExceeded, Message: "there was no token in time"}
		}
		if err != nil {
			return nil, &Error{Code: codes.Unauthenticated, Message: "there is no token: " + err.Error(), causes: []error{err}}
		}
		fields["authorization"] = "Bearer " + token
	}
	for name, value := range fields {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return ctx, nil
}

// withTraceContext returns the context of a handler, with the trace context that its server sent. A span of the program's
// own interceptors is the better parent.
func withTraceContext(ctx context.Context, traceparent string) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	fields := propagation.MapCarrier{}
	received, _ := metadata.FromIncomingContext(ctx)
	for name, values := range received {
		if len(values) > 0 {
			fields[name] = values[0]
		}
	}
	if traceparent != "" { // of a worker, whose stream has the metadata of no call
		fields["traceparent"] = traceparent
	}
	return otel.GetTextMapPropagator().Extract(ctx, fields)
}

// pauses are the pauses between attempts. They double, and each is shortened at random, so that clients that failed at
// the same time do not try again at the same time.
type pauses struct {
	next    time.Duration
	longest time.Duration
}

// take returns the next pause, which is at least as long as a server asks for.
func (p *pauses) take(minimum time.Duration) time.Duration {
	pause := time.Duration(float64(p.next) * (0.5 + rand.Float64()/2))
	p.next = min(2*p.next, p.longest)
	return max(pause, minimum)
}

// sleep pauses. It returns false if the context ends before.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errNoContext is the error of a nil context.
var errNoContext = errors.New("callback: the context is nil")

// targetProblem returns what is wrong with a target. A target must name its port: gRPC would silently use port 443.
func targetProblem(target string) string {
	if lower := strings.ToLower(target); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		return "is a URL. Use HOST:PORT without a scheme, such as 127.0.0.1:50051"
	}
	scheme, servers := targetParts(target)
	if scheme != "" && scheme != "dns" && scheme != "ipv4" && scheme != "ipv6" {
		return "" // that of a Unix socket, or of a resolver of the program
	}
	for _, server := range servers {
		host, port, err := net.SplitHostPort(server)
		number, numberErr := strconv.Atoi(port)
		if err != nil || host == "" || strings.ContainsAny(host, "/ ") || numberErr != nil || number < 1 || number > 65_535 {
			return "is not valid or has no port. Use HOST:PORT, several of them with commas between, or a gRPC target such as " +
				"dns:///callback:50051 or unix:/run/callback.sock"
		}
	}
	return ""
}

// isLocal returns whether a target has only servers of this machine. Host names other than localhost are not resolved.
func isLocal(target string) bool {
	scheme, servers := targetParts(target)
	if scheme == "unix" || scheme == "unix-abstract" {
		return true
	}
	for _, server := range servers {
		host, _, err := net.SplitHostPort(server)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// targetParts returns the scheme of a target, empty if it has none, and its servers.
func targetParts(target string) (scheme string, servers []string) {
	scheme, rest, found := strings.Cut(target, ":")
	if !found || !strings.HasPrefix(rest, "/") && scheme != "unix" && scheme != "unix-abstract" &&
		scheme != "dns" && scheme != "ipv4" && scheme != "ipv6" {
		return "", strings.Split(target, ",")
	}
	if authority, isAbsolute := strings.CutPrefix(rest, "//"); isAbsolute { // in dns://SERVER/HOST:PORT a DNS server comes first
		_, rest, _ = strings.Cut(authority, "/")
	}
	if scheme == "ipv4" || scheme == "ipv6" {
		return scheme, strings.Split(rest, ",")
	}
	return scheme, []string{rest}
}
