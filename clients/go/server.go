package callback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	v1 "callback.example/callback/v1"
)

// ListenAndServe runs a handler server, to which the Callback server connects at an address of its configuration. The
// address is host:port, or unix:/path. It serves until the context ends, as [Serve] does.
func ListenAndServe(ctx context.Context, address string, handlers *Handlers, options ...ServerOption) error {
	network := "tcp"
	if scheme, addresses := targetParts(address); scheme == "unix" {
		network, address = scheme, addresses[0]
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	return Serve(ctx, listener, handlers, options...)
}

// Serve runs a handler server on a listener, which it closes. When the context ends, it accepts no new calls, and lets
// running calls finish within the grace period ([WithGrace]). It returns nil after a stop in which every call has
// finished, and an error if a call did not finish.
func Serve(ctx context.Context, listener net.Listener, handlers *Handlers, options ...ServerOption) error {
	if listener == nil {
		return errors.New("callback: the listener is nil")
	}
	defer func() { _ = listener.Close() }()
	if ctx == nil {
		return errNoContext
	}
	service, err := newHandlerServer(handlers, options)
	if err != nil {
		return err
	}
	given := service.settings
	grpcOptions := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		// Callers may send pings to detect a dead peer; by default gRPC treats that as an attack.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}
	if given.serverCredentials != nil {
		grpcOptions = append(grpcOptions, grpc.Creds(given.serverCredentials))
	}
	server := grpc.NewServer(append(grpcOptions, given.serverOptions...)...)
	v1.RegisterCallbackHandlerServiceServer(server, service)
	checks := health.NewServer()
	checks.SetServingStatus(v1.CallbackHandlerService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, checks)

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	given.logger.Info("handlers_listening", "address", listener.Addr().String(), "activities", handlers.served())
	select {
	case err := <-served:
		return fmt.Errorf("callback: %w", err)
	case <-ctx.Done():
	}
	given.logger.Info("stopping", "grace", given.grace)
	checks.Shutdown()
	stopped := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(stopped)
	}()
	// Stop ends the contexts of the handlers, and waits for them.
	return stop(stopped, given.grace, func() int { return int(service.running.Load()) }, func() { go server.Stop() })
}

// RegisterHandlers adds the handlers to a gRPC server of the program, as an alternative to [Serve].
func RegisterHandlers(server grpc.ServiceRegistrar, handlers *Handlers, options ...ServerOption) error {
	if server == nil {
		return errors.New("callback: the server is nil")
	}
	service, err := newHandlerServer(handlers, options)
	if err != nil {
		return err
	}
	v1.RegisterCallbackHandlerServiceServer(server, service)
	return nil
}

// handlerServer is the CallbackHandlerService for handlers.
type handlerServer struct {
	v1.UnimplementedCallbackHandlerServiceServer
	handlers *Handlers
	settings *settings
	// running is the number of calls and notifications that are handled now.
	running atomic.Int32
}

func newHandlerServer(handlers *Handlers, options []ServerOption) (*handlerServer, error) {
	given, err := settingsOf(options)
	if err != nil {
		return nil, err
	}
	return &handlerServer{handlers: handlers, settings: given}, handlers.check()
}

func (s *handlerServer) HandleCallback(
	ctx context.Context, request *v1.HandleCallbackRequest,
) (*v1.HandleCallbackResponse, error) {
	s.running.Add(1)
	defer s.running.Add(-1)
	decider := s.handlers.decider(request)
	if decider == nil {
		s.settings.logger.Error("handler_missing", "activity", request.GetCallbackActivity(), "call_id", request.GetCallId())
		return nil, status.Errorf(codes.Unimplemented, "no handler for the activity %q here", request.GetCallbackActivity())
	}
	decision, err := decide(ctx, s.settings.logger, request, decider, maxAnswerBytes)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return decision, nil
}

func (s *handlerServer) HandleNotification(
	ctx context.Context, request *v1.HandleNotificationRequest,
) (*v1.HandleNotificationResponse, error) {
	s.running.Add(1)
	defer s.running.Add(-1)
	notification := request.GetNotification()
	decider := s.handlers.decider(notification)
	if decider == nil || !isNotification(notification) {
		problem := "no handler for the notifications of the activity %q here"
		return nil, status.Errorf(codes.Unimplemented, problem, notification.GetCallbackActivity())
	}
	decision, err := decide(ctx, s.settings.logger, notification, decider, maxAnswerBytes)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &v1.HandleNotificationResponse{Decision: decision}, nil
}

func (s *handlerServer) RefuseAnswer(_ context.Context, refusal *v1.RefuseAnswerRequest) (*v1.RefuseAnswerResponse, error) {
	logAnswerRefused(s.settings.logger, refusal)
	return &v1.RefuseAnswerResponse{}, nil
}
