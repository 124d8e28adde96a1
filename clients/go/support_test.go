package callback_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"callback.example/callback"
	v1 "callback.example/callback/v1"
)

// patience is how long a test waits for what must happen. Only a test that fails waits so long.
const patience = time.Minute

// scriptedServer is a real gRPC server whose worker streams are driven by a test: for what a Callback server does not do
// on request.
type scriptedServer struct {
	v1.UnimplementedWorkerServiceServer
	t       *testing.T
	target  string
	streams chan *scriptedStream
	// stopping ends the streams with the server.
	stopping chan struct{}
}

// scriptedStream is the stream of one worker.
type scriptedStream struct {
	t        *testing.T
	rpc      grpc.BidiStreamingServer[v1.WorkRequest, v1.WorkResponse]
	metadata metadata.MD
	requests chan *v1.WorkRequest
	// ending gets how the stream ends.
	ending chan error
	// left has the messages of the last request that the test has not read.
	left []*v1.WorkerMessage
}

func newScriptedServer(t *testing.T) *scriptedServer {
	t.Helper()
	server := &scriptedServer{t: t, streams: make(chan *scriptedStream), stopping: make(chan struct{})}
	server.target = serveGRPC(t, func(registrar *grpc.Server) { v1.RegisterWorkerServiceServer(registrar, server) })
	t.Cleanup(func() { close(server.stopping) })
	return server
}

// serveGRPC serves on a free port until the test ends.
func serveGRPC(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) (target string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(options...)
	register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func (s *scriptedServer) Work(rpc grpc.BidiStreamingServer[v1.WorkRequest, v1.WorkResponse]) error {
	received, _ := metadata.FromIncomingContext(rpc.Context())
	stream := &scriptedStream{
		t: s.t, rpc: rpc, metadata: received, requests: make(chan *v1.WorkRequest, 1000), ending: make(chan error, 1),
	}
	go func() {
		defer close(stream.requests)
		for {
			request, err := rpc.Recv()
			if err != nil {
				return
			}
			stream.requests <- request
		}
	}()
	select {
	case s.streams <- stream:
	case <-s.stopping:
		return nil
	case <-rpc.Context().Done():
		return nil
	}
	select {
	case err := <-stream.ending:
		return err
	case <-s.stopping:
		return nil
	case <-rpc.Context().Done():
		return nil
	}
}

// next returns the next stream of a worker.
func (s *scriptedServer) next() *scriptedStream {
	s.t.Helper()
	return receive(s.t, s.streams)
}

// welcomed returns the next stream of a worker, after Hello and Welcome.
func (s *scriptedServer) welcomed() *scriptedStream {
	s.t.Helper()
	stream := s.next()
	stream.welcome()
	return stream
}

func (s *scriptedStream) welcome() *v1.Hello {
	s.t.Helper()
	hello := s.message().GetHello()
	if hello == nil {
		s.t.Fatal("the first message is not hello")
	}
	s.send(&v1.ServerMessage{Message: &v1.ServerMessage_Welcome{Welcome: &v1.Welcome{}}})
	return hello
}

// send sends messages in one batch.
func (s *scriptedStream) send(messages ...*v1.ServerMessage) {
	s.t.Helper()
	must(s.t, s.rpc.Send(&v1.WorkResponse{Messages: messages}))
}

// message returns the next message of the worker.
func (s *scriptedStream) message() *v1.WorkerMessage {
	s.t.Helper()
	for len(s.left) == 0 {
		s.left = receive(s.t, s.requests).GetMessages()
	}
	message := s.left[0]
	s.left = s.left[1:]
	return message
}

// accepted expects that the worker accepts a call.
func (s *scriptedStream) accepted(callID string) {
	s.t.Helper()
	if message := s.message(); message.GetAccept().GetCallId() != callID {
		s.t.Fatalf("expected accept of %s, got %v", callID, message)
	}
}

// result expects the result of a call.
func (s *scriptedStream) result(callID string) *v1.Result {
	s.t.Helper()
	message := s.message()
	if message.GetResult().GetCallId() != callID {
		s.t.Fatalf("expected the result of %s, got %v", callID, message)
	}
	return message.GetResult()
}

// run offers and confirms a call.
func (s *scriptedStream) run(callID string) {
	s.t.Helper()
	s.send(offer(callID))
	s.accepted(callID)
	s.send(confirm(callID))
}

func offer(callID string) *v1.ServerMessage {
	request := &v1.HandleCallbackRequest{CallId: callID, CallbackActivity: "order-paid", Attempt: 1}
	return &v1.ServerMessage{Message: &v1.ServerMessage_Offer{Offer: request}}
}

func confirm(callID string) *v1.ServerMessage {
	return &v1.ServerMessage{Message: &v1.ServerMessage_Confirm{Confirm: &v1.Confirm{CallId: callID}}}
}

func withdraw(callID string) *v1.ServerMessage {
	return &v1.ServerMessage{Message: &v1.ServerMessage_Withdraw{Withdraw: &v1.Withdraw{CallId: callID}}}
}

func drain() *v1.ServerMessage {
	return &v1.ServerMessage{Message: &v1.ServerMessage_Drain{Drain: &v1.Drain{}}}
}

// runningWorker is a worker that runs until its test ends.
type runningWorker struct {
	*callback.Worker
	log *logLines
	// stop asks it to stop.
	stop context.CancelFunc
	// ended gets the error of Run.
	ended chan error
}

func runWorker(t *testing.T, target string, handler callback.Handler, options ...callback.WorkerOption) *runningWorker {
	t.Helper()
	var handlers callback.Handlers
	handlers.Handle("order-paid", handler)
	return runHandlers(t, target, &handlers, options...)
}

func runHandlers(
	t *testing.T, target string, handlers *callback.Handlers, options ...callback.WorkerOption,
) *runningWorker {
	t.Helper()
	log := &logLines{}
	worker, err := callback.NewWorker(target, handlers, append([]callback.WorkerOption{log.option()}, options...)...)
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	running := &runningWorker{Worker: worker, log: log, stop: stop, ended: make(chan error, 1)}
	go func() { running.ended <- worker.Run(ctx) }()
	t.Cleanup(stop)
	return running
}

// logLines is the log of a client, worker or server.
type logLines struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

func (l *logLines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

func (l *logLines) option() callback.Option { return callback.WithLogger(newLogger(l)) }

func newLogger(log *logLines) *slog.Logger { return slog.New(slog.NewTextHandler(log, nil)) }

func insecureTransport() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}

func accepting(context.Context, *callback.Call) (callback.Answer, error) {
	return callback.Answer{}, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got returns the value of a call that must have no error.
func got[Value any](value Value, err error) func(t *testing.T) Value {
	return func(t *testing.T) Value {
		t.Helper()
		must(t, err)
		return value
	}
}

// receive returns the next value of a channel.
func receive[Value any](t *testing.T, channel <-chan Value) Value {
	t.Helper()
	select {
	case value, ok := <-channel:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return value
	case <-time.After(patience):
		t.Fatal("nothing arrived")
	}
	panic("unreachable")
}

// closed waits until a channel is closed.
func closed[Value any](t *testing.T, channel <-chan Value) {
	t.Helper()
	select {
	case <-channel:
	case <-time.After(patience):
		t.Fatal("nothing happened")
	}
}

// until waits until a condition holds.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the condition never held")
		}
	}
}

func clientTLS(t *testing.T, certificate, key string, authorities *x509.CertPool) grpc.DialOption {
	t.Helper()
	pair := got(tls.LoadX509KeyPair(certificate, key))(t)
	return grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: authorities, ServerName: "handlers.example",
	}))
}
