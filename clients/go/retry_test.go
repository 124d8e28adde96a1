package callback_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"callback.example/callback"
	v1 "callback.example/callback/v1"
)

// scriptedOwner is a real gRPC server for owners that answers by a script: for failures that a Callback server does not
// show on request.
type scriptedOwner struct {
	v1.UnimplementedCallbacksServiceServer
	mutex sync.Mutex
	// errors are the errors of the next requests, also of those in batches; nil is a success. A request after them succeeds.
	errors []error
	// batchErrors are the errors of the next batches as a whole; nil if its requests have results.
	batchErrors []error
	// batches is the number of requests in each batch that arrived.
	batches  []int
	requests []*v1.GenerateCallbackUrlRequest
	metadata []metadata.MD
	// watches are the scripts of the next watches.
	watches []watchScript
	// looks is the number of requests for a callback. Its calls are those of calls.
	looks int
	calls []*v1.Call
}

type watchScript = func(*v1.WatchCallsRequest, grpc.ServerStreamingServer[v1.WatchCallsResponse]) error

// idle is the script of a watch without events, until its end.
func idle(_ *v1.WatchCallsRequest, stream grpc.ServerStreamingServer[v1.WatchCallsResponse]) error {
	if err := stream.Send(&v1.WatchCallsResponse{ResumeToken: "start"}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return status.FromContextError(stream.Context().Err()).Err() // as a server does at the deadline of the client
}

func (o *scriptedOwner) GetCallback(context.Context, *v1.GetCallbackRequest) (*v1.GetCallbackResponse, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.looks++
	open := v1.CallbackStatus_CALLBACK_STATUS_OPEN
	return &v1.GetCallbackResponse{Callback: &v1.Callback{Status: open, CallCount: int64(len(o.calls))}}, nil
}

func (o *scriptedOwner) ListCalls(context.Context, *v1.ListCallsRequest) (*v1.ListCallsResponse, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return &v1.ListCallsResponse{Calls: o.calls}, nil
}

func (o *scriptedOwner) GetCall(_ context.Context, request *v1.GetCallRequest) (*v1.GetCallResponse, error) {
	return &v1.GetCallResponse{Call: &v1.Call{CallId: request.GetCallId()}}, nil
}

func (o *scriptedOwner) next(ctx context.Context, request *v1.GenerateCallbackUrlRequest) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	received, _ := metadata.FromIncomingContext(ctx)
	o.metadata = append(o.metadata, received)
	o.requests = append(o.requests, request)
	if len(o.errors) == 0 {
		return nil
	}
	err := o.errors[0]
	o.errors = o.errors[1:]
	return err
}

func (o *scriptedOwner) GenerateCallbackUrl(
	ctx context.Context, request *v1.GenerateCallbackUrlRequest,
) (*v1.GenerateCallbackUrlResponse, error) {
	if err := o.next(ctx, request); err != nil {
		return nil, err
	}
	return &v1.GenerateCallbackUrlResponse{CallbackCaseId: "made"}, nil
}

func (o *scriptedOwner) GenerateCallbackUrls(
	ctx context.Context, batch *v1.GenerateCallbackUrlsRequest,
) (*v1.GenerateCallbackUrlsResponse, error) {
	o.mutex.Lock()
	o.batches = append(o.batches, len(batch.GetRequests()))
	var refused error
	if len(o.batchErrors) > 0 {
		refused, o.batchErrors = o.batchErrors[0], o.batchErrors[1:]
	}
	o.mutex.Unlock()
	if refused != nil {
		return nil, refused
	}
	reply := &v1.GenerateCallbackUrlsResponse{}
	for _, request := range batch.GetRequests() {
		made := &v1.GenerateCallbackUrlResult_Generated{Generated: &v1.GenerateCallbackUrlResponse{CallbackCaseId: "made"}}
		result := &v1.GenerateCallbackUrlResult{Result: made}
		if err := o.next(ctx, request); err != nil {
			result.Result = &v1.GenerateCallbackUrlResult_Problem{Problem: status.Convert(err).Proto()}
		}
		reply.Results = append(reply.Results, result)
	}
	return reply, nil
}

func (o *scriptedOwner) WatchCalls(
	request *v1.WatchCallsRequest, stream grpc.ServerStreamingServer[v1.WatchCallsResponse],
) error {
	o.mutex.Lock()
	script := o.watches[0]
	o.watches = o.watches[1:]
	o.mutex.Unlock()
	return script(request, stream)
}

// ids returns the request ids of the requests that arrived.
func (o *scriptedOwner) ids() []string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var ids []string
	for _, request := range o.requests {
		ids = append(ids, request.GetRequestId())
	}
	return ids
}

func newScriptedOwner(
	t *testing.T, failures []error, options ...callback.ClientOption,
) (*scriptedOwner, *callback.Client) {
	t.Helper()
	owner := &scriptedOwner{errors: failures}
	target := serveGRPC(t, func(server *grpc.Server) { v1.RegisterCallbacksServiceServer(server, owner) })
	client := got(callback.NewClient(target, options...))(t)
	t.Cleanup(func() { _ = client.Close() })
	return owner, client
}

func refusal(code codes.Code, reason callback.Reason, pause time.Duration) error {
	refused := status.New(code, "refused")
	info := &errdetails.ErrorInfo{Reason: string(reason), Domain: "callback"}
	refused, err := refused.WithDetails(info, &errdetails.RetryInfo{RetryDelay: durationpb.New(pause)})
	if err != nil {
		panic(err)
	}
	return refused.Err()
}

var unavailable = status.Error(codes.Unavailable, "the store is away")

func TestAServerWithoutRequestIDsGetsOneRequestWithout(t *testing.T) {
	unsupported := refusal(codes.FailedPrecondition, callback.ReasonRequestIDUnsupported, 0)
	owner, client := newScriptedOwner(t, []error{unsupported, unavailable})
	_, err := client.GenerateCallbackURL(t.Context(), "record", callback.Text(""))
	if ids := owner.ids(); len(ids) != 2 || ids[0] == "" || ids[1] != "" || !errors.Is(err, callback.ErrUnavailable) {
		t.Fatal(ids, err) // a second one without an id could make a second case
	}
	owner, client = newScriptedOwner(t, []error{unsupported})
	_, err = client.GenerateCallbackURL(t.Context(), "record", callback.Text(""), callback.WithRequestID("order-5"))
	if ids := owner.ids(); len(ids) != 1 || !errors.Is(err, callback.ReasonRequestIDUnsupported) {
		t.Fatal(ids, err)
	}
}

func TestAClientWithoutRetriesSendsARequestOnceAndWithoutAnID(t *testing.T) {
	owner, client := newScriptedOwner(t, []error{unavailable}, callback.WithoutRetries())
	_, err := client.GenerateCallbackURL(t.Context(), "record", callback.Text(""))
	if ids := owner.ids(); !slices.Equal(ids, []string{""}) || !errors.Is(err, callback.ErrUnavailable) {
		t.Fatal(ids, err)
	}
}

// several returns requests of a batch, each with the options.
func several(count int, options ...callback.GenerateOption) []callback.NewCallback {
	return slices.Repeat([]callback.NewCallback{{Activity: "record", Response: callback.Text(""), Options: options}}, count)
}

func TestABatchSendsAgainThoseRequestsThatMaySucceedInAMoment(t *testing.T) {
	away := refusal(codes.Unavailable, callback.ReasonStoreUnavailable, 0)
	invalid := refusal(codes.InvalidArgument, callback.ReasonInvalidRequest, 0)
	owner, client := newScriptedOwner(t, []error{nil, away, invalid, away, away, nil, nil})
	results := got(client.GenerateCallbackURLs(t.Context(), several(4)))(t)
	for place, result := range results {
		if place == 2 && errors.Is(result.Err, callback.ReasonInvalidRequest) && result.Callback == nil {
			continue
		}
		if place == 2 || result.Err != nil || result.Callback.CaseID != "made" {
			t.Fatal(place, result.Err)
		}
	}
	ids := owner.ids()
	if !slices.Equal(owner.batches, []int{4, 2, 1}) || !slices.Equal(ids[4:], []string{ids[1], ids[3], ids[1]}) {
		t.Fatal(owner.batches, ids)
	}
	if slices.Sort(ids[:4]); len(slices.Compact(ids[:4])) != 4 || ids[0] == "" {
		t.Fatal(ids)
	}
}

func TestABatchThatWouldBeSentAgainTooLateHasTheErrorsOfItsRequests(t *testing.T) {
	late := refusal(codes.Unavailable, callback.ReasonStoreUnavailable, time.Hour)
	owner, client := newScriptedOwner(t, []error{nil, late})
	results := got(client.GenerateCallbackURLs(t.Context(), several(2)))(t)
	if results[0].Err != nil || !errors.Is(results[1].Err, callback.ReasonStoreUnavailable) || len(owner.batches) != 1 {
		t.Fatal(results, owner.batches)
	}
}

func TestABatchWhoseContextEndsKeepsItsURLs(t *testing.T) {
	later := refusal(codes.Unavailable, callback.ReasonStoreUnavailable, 5*time.Second)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, client := newScriptedOwner(t, []error{nil, later}, afterEach(func() { cancel(errStopped) }))
	results := got(client.GenerateCallbackURLs(ctx, several(2)))(t)
	if results[0].Err != nil || !errors.Is(results[1].Err, context.Canceled) || !errors.Is(results[1].Err, errStopped) {
		t.Fatal(results)
	}
}

func TestABatchForAServerWithoutRequestIDsGoesOnWithoutThoseOfTheClient(t *testing.T) {
	unsupported := refusal(codes.FailedPrecondition, callback.ReasonRequestIDUnsupported, 0)
	owner, client := newScriptedOwner(t, []error{unsupported, unsupported, unsupported})
	batch := slices.Concat(several(1, callback.WithRequestID("mine")), several(2))
	owner.batchErrors = []error{nil, unavailable}
	results := got(client.GenerateCallbackURLs(t.Context(), batch))(t)
	if !errors.Is(results[0].Err, callback.ReasonRequestIDUnsupported) || !errors.Is(results[1].Err, callback.ErrUnavailable) ||
		!errors.Is(results[2].Err, callback.ErrUnavailable) || !slices.Equal(owner.batches, []int{3, 2}) {
		t.Fatal(results, owner.batches) // a third batch could make other cases
	}
	owner.errors = []error{unsupported, unsupported}
	results = got(client.GenerateCallbackURLs(t.Context(), batch[:2]))(t)
	if results[1].Err != nil || owner.ids()[len(owner.ids())-1] != "" {
		t.Fatal(results, owner.ids())
	}
}

func TestAClientWithoutRetriesSendsABatchOnceAndWithoutIDs(t *testing.T) {
	owner, client := newScriptedOwner(t, []error{nil, unavailable}, callback.WithoutRetries())
	batch := slices.Concat(several(1), several(1, callback.WithRequestID("mine")))
	results := got(client.GenerateCallbackURLs(t.Context(), batch))(t)
	if results[0].Err != nil || !errors.Is(results[1].Err, callback.ErrUnavailable) || !slices.Equal(owner.ids(), []string{"", "mine"}) {
		t.Fatal(results, owner.ids())
	}
}

func TestARetryThatWouldComeTooLateIsNotMade(t *testing.T) {
	late := refusal(codes.Unavailable, callback.ReasonStoreUnavailable, time.Hour)
	owner, client := newScriptedOwner(t, []error{late})
	_, err := client.GenerateCallbackURL(t.Context(), "record", callback.Text(""))
	var refused *callback.Error
	if !errors.As(err, &refused) || refused.RetryAfter != time.Hour || len(owner.ids()) != 1 || refused.Code != codes.Unavailable ||
		status.Code(err) != codes.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

// errStopped is the cause of the end of a context.
var errStopped = errors.New("the program stops")

// requests are a request of each kind: an RPC, a list, the start of a watch and a wait.
func requests(client *callback.Client) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"generate": func(ctx context.Context) error {
			return ignore(client.GenerateCallbackURL(ctx, "record", callback.Text("")))
		},
		"close":  func(ctx context.Context) error { return ignore(client.CloseCallback(ctx, "a")) },
		"erase":  func(ctx context.Context) error { return ignore(client.EraseCalls(ctx, "a")) },
		"resume": func(ctx context.Context) error { return client.ResumeActivity(ctx, "a") },
		"list": func(ctx context.Context) error {
			for _, err := range client.ListCallbacks(ctx, callback.CallbackQuery{}) {
				return err
			}
			return nil
		},
		"watch": func(ctx context.Context) error { return ignore(client.WatchCalls(ctx, callback.WatchQuery{})) },
		"wait":  func(ctx context.Context) error { return ignore(client.WaitForCall(ctx, "a", 0)) },
	}
}

// unreachable returns a client whose server is away.
func unreachable(t *testing.T, options ...callback.ClientOption) *callback.Client {
	t.Helper()
	client := got(callback.NewClient("127.0.0.1:1", options...))(t)
	t.Cleanup(func() { must(t, client.Close()) })
	return client
}

// afterEach calls a function after each attempt of a request.
func afterEach(done func()) callback.ConnectionOption {
	return callback.WithDialOptions(grpc.WithUnaryInterceptor(func(
		ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, send grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		defer done()
		return send(ctx, method, request, reply, connection, options...)
	}))
}

func TestARequestToAServerThatIsAwayIsCancelledWithItsContext(t *testing.T) {
	client := unreachable(t)
	for name, request := range requests(client) {
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- request(ctx) }()
		cancel(errStopped)
		err := receive(t, ended)
		var refused *callback.Error
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errStopped) || errors.Is(err, callback.ErrUnavailable) ||
			!errors.As(err, &refused) || refused.Code != codes.Canceled || !strings.Contains(err.Error(), "was cancelled: the program stops") {
			t.Error(name, err)
		}
	}
}

func TestARequestThatFailedIsCancelledWhileItWaitsForItsNextAttempt(t *testing.T) {
	failed := make(chan struct{}, 1)
	_, client := newScriptedOwner(t, []error{refusal(codes.Unavailable, callback.ReasonStoreUnavailable, patience)},
		callback.WithTimeout(time.Hour), afterEach(func() { failed <- struct{}{} }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-failed
		cancel()
	}()
	_, err := client.GenerateCallbackURL(ctx, "record", callback.Text(""))
	if !errors.Is(err, context.Canceled) || errors.Is(err, callback.ErrUnavailable) || !strings.Contains(err.Error(), "before that, refused") {
		t.Fatal(err)
	}
}

func TestARequestToAServerThatIsAwayEndsAtTheDeadlineOfItsContext(t *testing.T) {
	client := unreachable(t)
	for name, request := range requests(client) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, errStopped)
		err := request(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errStopped) || !errors.Is(err, callback.ErrUnavailable) ||
			errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the program stops") {
			t.Error(name, err)
		}
	}
	own := unreachable(t, callback.WithTimeout(30*time.Millisecond))
	until(t, func() bool { // a later one says why, once an attempt to connect has failed
		err := ignore(own.GetCallback(t.Context(), "a"))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		return strings.Contains(err.Error(), "cannot reach 127.0.0.1:1")
	})
}

func TestAServerThatIsAwayIsNotMistakenForTheEndOfTheContext(t *testing.T) {
	client := unreachable(t, callback.WithoutRetries())
	for name, request := range requests(client) {
		if err := request(t.Context()); !errors.Is(err, callback.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, context.Canceled) {
			t.Error(name, err)
		}
	}
}

func TestARefusalStaysWhatItIsWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, client := newScriptedOwner(t, []error{refusal(codes.AlreadyExists, callback.ReasonRequestIDReused, 0)},
		afterEach(cancel))
	if _, err := client.GenerateCallbackURL(ctx, "record", callback.Text("")); !errors.Is(err, callback.ReasonRequestIDReused) {
		t.Fatal(err)
	}
}

func TestARunningRequestEndsWithItsContext(t *testing.T) {
	arrived := make(chan struct{})
	target := serveGRPC(t, func(server *grpc.Server) {
		v1.RegisterCallbacksServiceServer(server, &v1.UnimplementedCallbacksServiceServer{})
	},
		grpc.UnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			arrived <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}))
	client := got(callback.NewClient(target))(t)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { ended <- ignore(client.GetCallback(ctx, "a")) }()
	receive(t, arrived)
	cancel(errStopped)
	if err := receive(t, ended); !errors.Is(err, context.Canceled) || !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	go func() { ended <- ignore(client.GetCallback(t.Context(), "a")) }()
	receive(t, arrived)
	must(t, client.Close())
	for range 2 { // a request in progress, and a later one
		if err := receive(t, ended); !errors.Is(err, callback.ErrClosed) || errors.Is(err, context.Canceled) ||
			err.Error() != "callback: Canceled: the client is closed" {
			t.Fatal(err)
		}
		go func() { ended <- ignore(client.GetCallback(t.Context(), "a")) }()
	}
	must(t, client.Close()) // again
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	owner, client := newScriptedOwner(t, nil)
	owner.watches = append(owner.watches, idle, idle)
	// watch returns the error that ends a watch. A deadline can pass before the watch is open.
	watch := func(ctx context.Context, opened func()) error {
		watch, last := client.WatchCalls(ctx, callback.WatchQuery{})
		if last != nil {
			return last
		}
		opened()
		for _, err := range watch.Events() {
			last = err
		}
		return last
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	err := watch(cancelled, func() { cancel(errStopped) })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errStopped) ||
		!strings.HasSuffix(err.Error(), "the context of the watch was cancelled: the program stops") {
		t.Error(err)
	}
	late, stop := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errStopped)
	defer stop()
	err = watch(late, func() {})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errStopped) ||
		!strings.HasSuffix(err.Error(), "the deadline of the context of the watch has passed: the program stops") {
		t.Error(err)
	}
}

func TestAWaitSaysWhyItEnded(t *testing.T) {
	owner, client := newScriptedOwner(t, nil)
	owner.watches = []watchScript{idle, idle}
	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	late, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	for message, ctx := range map[string]context.Context{
		"Canceled: the context of the wait for a call of the callback case-1 was cancelled": cancelled,
		"DeadlineExceeded: no call of the callback case-1 ended in time":                    late,
	} {
		if _, err := client.WaitForCall(ctx, "case-1", 0); !errors.Is(err, ctx.Err()) || err.Error() != "callback: "+message {
			t.Error(err)
		}
	}
}

func TestATextThatIsNotUTF8IsNotSent(t *testing.T) {
	owner, client := newScriptedOwner(t, nil)
	for field, option := range map[string]callback.GenerateOption{
		`labels["order"]`:         callback.WithLabel("order", "\xff"),
		"labels":                  callback.WithLabel("\xff", "5"),
		"callback_activity_case":  callback.WithActivityCase("\xff"),
		"prompt.choices[1].label": callback.WithPrompt(&callback.Prompt{Choices: []*callback.Choice{{}, {Label: "\xff"}}}),
		"fallback.response_headers.headers[0].value": callback.WithFallback(callback.Text("").WithHeader("x-a", "\xff")),
	} {
		_, err := client.GenerateCallbackURL(t.Context(), "record", callback.Text("\xff"), option) // a body may have any bytes
		var refused *callback.Error
		if !errors.As(err, &refused) || refused.Code != codes.InvalidArgument || !errors.Is(err, callback.ReasonInvalidRequest) ||
			len(refused.Violations) != 1 || refused.Violations[0].Field != field ||
			err.Error() != "callback: INVALID_REQUEST: "+field+": must be UTF-8" {
			t.Error(field, err)
		}
	}
	_, err := client.WatchCalls(t.Context(), callback.WatchQuery{Labels: map[string]string{"order": "\xff"}})
	if !errors.Is(err, callback.ReasonInvalidRequest) || len(owner.ids()) > 0 {
		t.Error(err, owner.ids())
	}
}

func TestATokenAndTheTraceContextAreSent(t *testing.T) {
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.TraceContext{})
	defer otel.SetTextMapPropagator(before)
	tokens := []string{"token-1", "token-2"}
	owner, client := newScriptedOwner(t, nil, callback.WithTokenSource(func(context.Context) (string, error) {
		if len(tokens) == 0 {
			return "", errVault
		}
		token := tokens[0]
		tokens = tokens[1:]
		return token, nil
	}))
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	for range 2 {
		must(t, ignore(client.GenerateCallbackURL(ctx, "record", callback.Text(""))))
	}
	for index, want := range []string{"Bearer token-1", "Bearer token-2"} {
		received := owner.metadata[index]
		if !slices.Equal(received.Get("authorization"), []string{want}) ||
			!slices.Equal(received.Get("traceparent"), []string{"00-01000000000000000000000000000000-0200000000000000-00"}) {
			t.Fatal(received)
		}
	}
	if _, err := client.GetCallback(ctx, "x"); !errors.Is(err, callback.ErrUnauthenticated) || !errors.Is(err, errVault) {
		t.Fatal(err)
	}
}

// errVault is the error of a source of tokens.
var errVault = errors.New("the vault is closed")

func TestASourceOfTokensEndsWithTheContext(t *testing.T) {
	_, client := newScriptedOwner(t, nil, callback.WithTokenSource(func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", errVault
	}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	for _, ctx := range []context.Context{ended, late} {
		if _, err := client.GetCallback(ctx, "x"); !errors.Is(err, ctx.Err()) || errors.Is(err, callback.ErrUnauthenticated) {
			t.Error(err)
		}
	}
}

func TestAHandlerOfAServerHasTheTraceContext(t *testing.T) {
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.TraceContext{})
	defer otel.SetTextMapPropagator(before)
	var handlers callback.Handlers
	seen := make(chan trace.TraceID, 2)
	handlers.Handle("a", func(ctx context.Context, _ *callback.Call) (callback.Answer, error) {
		seen <- trace.SpanContextFromContext(ctx).TraceID()
		return callback.Answer{}, nil
	})
	target := serveGRPC(t, func(server *grpc.Server) { must(t, callback.RegisterHandlers(server, &handlers)) })
	connection := got(grpc.NewClient(target, insecureTransport()))(t)
	defer func() { must(t, connection.Close()) }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-01000000000000000000000000000000-0200000000000000-00")
	stub := v1.NewCallbackHandlerServiceClient(connection)
	request := &v1.HandleCallbackRequest{CallbackActivity: "a"}
	must(t, ignore(stub.HandleCallback(ctx, request)))
	if id := receive(t, seen); id != (trace.TraceID{1}) {
		t.Fatal(id)
	}
	for activity, call := range map[string]func() error{
		"other": func() error {
			return ignore(stub.HandleCallback(ctx, &v1.HandleCallbackRequest{CallbackActivity: "other"}))
		},
		"notification": func() error {
			return ignore(stub.HandleNotification(ctx, &v1.HandleNotificationRequest{Notification: request}))
		},
	} {
		if err := call(); status.Code(err) != codes.Unimplemented {
			t.Fatal(activity, err)
		}
	}
	must(t, ignore(stub.RefuseAnswer(ctx, &v1.RefuseAnswerRequest{CallId: "1"})))
}

func TestAHandlerOfAServerThatEndsItsGoroutineFailsItsCall(t *testing.T) {
	var handlers callback.Handlers
	handlers.Handle("a", func(context.Context, *callback.Call) (callback.Answer, error) {
		runtime.Goexit()
		return callback.Answer{}, nil
	})
	log := &logLines{}
	target := serveGRPC(t, func(server *grpc.Server) { must(t, callback.RegisterHandlers(server, &handlers, log.option())) })
	connection := got(grpc.NewClient(target, insecureTransport()))(t)
	defer func() { must(t, connection.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := v1.NewCallbackHandlerServiceClient(connection).HandleCallback(ctx, &v1.HandleCallbackRequest{CallbackActivity: "a"})
	if status.Code(err) != codes.Internal || !strings.Contains(log.String(), "the handler ended its goroutine") {
		t.Fatal(err, log)
	}
}

func TestAClosedWatchHasNoMoreEvents(t *testing.T) {
	owner, client := newScriptedOwner(t, nil)
	owner.watches = append(owner.watches, func(_ *v1.WatchCallsRequest, stream grpc.ServerStreamingServer[v1.WatchCallsResponse]) error {
		must(t, stream.Send(&v1.WatchCallsResponse{Events: []*v1.CallEvent{{CallId: "1"}, {CallId: "2"}}}))
		<-stream.Context().Done()
		return nil
	})
	watch := got(client.WatchCalls(t.Context(), callback.WatchQuery{}))(t)
	var seen []string
	for range 2 {
		for event, err := range watch.Events() {
			must(t, err)
			seen = append(seen, event.CallID)
			watch.Close()
		}
	}
	if !slices.Equal(seen, []string{"1"}) {
		t.Fatal(seen)
	}
}

func TestAWatchThatWaitedLongerThanItsReconnectTimeoutReconnects(t *testing.T) {
	// A busy machine may need longer than a short timeout to connect.
	for timeout := 500 * time.Millisecond; !slices.Equal(seenAfterALoss(t, timeout), []string{"1"}); timeout *= 2 {
		if timeout > patience {
			t.Fatal("the watch does not reconnect")
		}
	}
}

// seenAfterALoss returns the calls of a watch that is lost when it has waited longer than its timeout.
func seenAfterALoss(t *testing.T, timeout time.Duration) (seen []string) {
	t.Helper()
	type stream = grpc.ServerStreamingServer[v1.WatchCallsResponse]
	owner, client := newScriptedOwner(t, nil)
	owner.watches = []func(*v1.WatchCallsRequest, stream) error{
		func(_ *v1.WatchCallsRequest, stream stream) error {
			must(t, stream.Send(&v1.WatchCallsResponse{ResumeToken: "start"}))
			<-time.After(2 * timeout) // nothing happens for so long
			return unavailable
		},
		func(_ *v1.WatchCallsRequest, stream stream) error {
			return stream.Send(&v1.WatchCallsResponse{Events: []*v1.CallEvent{{CallId: "1"}}})
		},
		func(*v1.WatchCallsRequest, stream) error {
			return refusal(codes.Unavailable, callback.ReasonStoreUnavailable, time.Hour)
		},
	}
	watch := got(client.WatchCalls(t.Context(), callback.WatchQuery{ReconnectTimeout: timeout}))(t)
	for event, err := range watch.Events() {
		if err != nil {
			// The server asks for a pause that is longer than the timeout: there is nothing to wait for.
			if !errors.Is(err, callback.ReasonStoreUnavailable) {
				t.Fatal(err)
			}
			break
		}
		seen = append(seen, event.CallID)
	}
	return seen
}

func TestAWaitForACallOutlastsAServerThatIsAway(t *testing.T) {
	client := got(callback.NewClient("127.0.0.1:1", callback.WithTimeout(10*time.Millisecond)))(t)
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ignore(client.WaitForCall(ctx, "case-1", 0)) }()
	select {
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(300 * time.Millisecond):
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	once := got(callback.NewClient("127.0.0.1:1", callback.WithoutRetries()))(t)
	defer func() { _ = once.Close() }()
	if err := ignore(once.WaitForCall(t.Context(), "case-1", 0)); !errors.Is(err, callback.ErrUnavailable) {
		t.Fatal(err)
	}
}

func TestAWaitForACallRequestsNothingWhileNothingHappensAndGoesOnWhenItsWatchEnds(t *testing.T) {
	owner, client := newScriptedOwner(t, nil)
	opened, ends := make(chan bool), make(chan error)
	watch := func(_ *v1.WatchCallsRequest, stream grpc.ServerStreamingServer[v1.WatchCallsResponse]) error {
		must(t, stream.Send(&v1.WatchCallsResponse{ResumeToken: "start"}))
		opened <- true
		if err := <-ends; err != nil {
			return err
		}
		_ = stream.Send(&v1.WatchCallsResponse{Events: []*v1.CallEvent{{CallId: "1"}}}) // a look may have found the call before
		<-stream.Context().Done()
		return nil
	}
	tooMany := func(*v1.WatchCallsRequest, grpc.ServerStreamingServer[v1.WatchCallsResponse]) error {
		return refusal(codes.ResourceExhausted, callback.ReasonTooManyWatchers, 0)
	}
	owner.watches = []watchScript{watch, tooMany, watch, watch}
	ended := make(chan string, 1)
	go func() {
		call, err := client.WaitForCall(t.Context(), "case-1", 0)
		must(t, err)
		ended <- call.CallID
	}()
	<-opened
	select {
	case id := <-ended:
		t.Fatal(id)
	case <-time.After(1500 * time.Millisecond): // nothing happens
	}
	owner.mutex.Lock()
	if owner.looks > 2 { // before the watch, and after its start
		t.Error(owner.looks)
	}
	owner.mutex.Unlock()
	for _, end := range []error{unavailable, refusal(codes.Unauthenticated, callback.ReasonUnauthenticated, 0)} {
		ends <- end
		<-opened
	}
	owner.mutex.Lock()
	owner.calls = []*v1.Call{{CallId: "1", Attempt: 1, EndTime: timestamppb.Now()}}
	owner.mutex.Unlock()
	ends <- nil
	if id := <-ended; id != "1" {
		t.Fatal(id)
	}
}
