package callback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	v1 "callback.example/callback/internal/v1"
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
// finished.
func Serve(ctx context.Context, listener net.Listener, handlers *Handlers, options ...ServerOption) error {
	defer func() { _ = listener.Close() }()
	given, err := settingsOf(options)
	if err != nil {
		return err
	}
	if len(handlers.served()) == 0 {
		return errNoHandlers
	}
	grpcOptions := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		// Callers may send pings to detect a dead peer; by default gRPC treats that as an attack.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}
	if given.serverCredentials != nil {
		grpcOptions = append(grpcOptions, grpc.Creds(given.serverCredentials))
	}
	server := grpc.NewServer(append(grpcOptions, given.serverOptions...)...)
	v1.RegisterCallbackHandlerServiceServer(server, &handlerServer{handlers: handlers, settings: given})
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
	grace := time.NewTimer(given.grace)
	defer grace.Stop()
	select {
	case <-stopped:
		return nil
	case <-grace.C:
		go server.Stop() // it ends the contexts of the handlers, and waits for them
		select {
		case <-stopped:
		case <-time.After(lastHandlersPause): // for a handler that does not end with its context
		}
		return errors.New("callback: the grace period of the handler server ended before all of its calls did")
	}
}

// RegisterHandlers adds the handlers to a gRPC server of the program, as an alternative to [Serve].
func RegisterHandlers(server grpc.ServiceRegistrar, handlers *Handlers, options ...ServerOption) error {
	given, err := settingsOf(options)
	if err != nil {
		return err
	}
	v1.RegisterCallbackHandlerServiceServer(server, &handlerServer{handlers: handlers, settings: given})
	return nil
}

// handlerServer is the CallbackHandlerService for handlers.
type handlerServer struct {
	v1.UnimplementedCallbackHandlerServiceServer
	handlers *Handlers
	settings *settings
}

func (s *handlerServer) HandleCallback(
	ctx context.Context, request *v1.HandleCallbackRequest,
) (*v1.HandleCallbackResponse, error) {
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
