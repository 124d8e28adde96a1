package callback_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"callback.example/callback"
	"callback.example/callback/callbacktest"
	v1 "callback.example/callback/v1"
)

// handling is a handler whose calls a test can follow.
type handling struct {
	started chan *callback.Call
	// cancelled gets a call whose context has ended.
	cancelled chan string
	// finish lets a call end.
	finish chan struct{}
}

func newHandling() *handling {
	return &handling{started: make(chan *callback.Call, 100), cancelled: make(chan string, 100), finish: make(chan struct{})}
}

func (h *handling) handle(ctx context.Context, call *callback.Call) (callback.Answer, error) {
	h.started <- call
	select {
	case <-h.finish:
		return callback.Accept(callback.Text("done")), nil
	case <-ctx.Done():
		h.cancelled <- call.CallID
		return callback.Answer{}, ctx.Err()
	}
}

func TestAWorkerAnnouncesItselfInItsFirstMessageAlone(t *testing.T) {
	server := newScriptedServer(t)
	var handlers callback.Handlers
	handlers.Handle("b", accepting)
	handlers.Handle("a", accepting)
	handlers.HandleNotification("c", func(context.Context, *callback.Notification) (callback.Answer, error) {
		return callback.Answer{}, nil
	})
	worker := runHandlers(t, server.target, &handlers, callback.WithSlots(7), callback.WithName("till-3"))
	stream := server.next()
	request := receive(t, stream.requests)
	hello := request.GetMessages()[0].GetHello()
	if len(request.GetMessages()) != 1 || !slices.Equal(hello.GetCallbackActivities(), []string{"a", "b"}) ||
		!slices.Equal(hello.GetNotificationActivities(), []string{"c"}) || hello.GetMaxCalls() != 7 || hello.GetName() != "till-3" ||
		hello.GetMaxMessageBytes() != 16<<20 {
		t.Fatal(request)
	}
	if worker.Connected() {
		t.Fatal("connected before Welcome")
	}
	stream.send(&v1.ServerMessage{Message: &v1.ServerMessage_Welcome{Welcome: &v1.Welcome{
		Notices: []string{"a is built in"}, UnroutableActivities: []string{"a"},
	}}})
	closed(t, worker.Ready())
	if !worker.Connected() {
		t.Fatal("not connected after Welcome")
	}
	if log := worker.log.String(); !strings.Contains(log, `notice="a is built in"`) || !strings.Contains(log, `activities="[b c]"`) {
		t.Fatal(log)
	}
}

func TestAHandlerOfAWorkerHasTheTraceContextOfItsAttempt(t *testing.T) {
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.TraceContext{})
	defer otel.SetTextMapPropagator(before)
	server, seen := newScriptedServer(t), make(chan trace.SpanContext, 1)
	runWorker(t, server.target, func(ctx context.Context, call *callback.Call) (callback.Answer, error) {
		seen <- trace.SpanContextFromContext(ctx)
		return callback.Accept(callback.Text(call.Traceparent)), nil
	})
	stream := server.welcomed()
	const traceparent = "00-01000000000000000000000000000000-0200000000000000-01"
	offered := offer("1")
	offered.GetOffer().Traceparent = traceparent
	stream.send(offered)
	stream.accepted("1")
	stream.send(confirm("1"))
	if span := receive(t, seen); span.TraceID() != (trace.TraceID{1}) || span.SpanID() != (trace.SpanID{2}) || !span.IsSampled() {
		t.Fatal(span)
	}
	if body := stream.result("1").GetResponse().GetResponse().GetResponseBody(); string(body) != traceparent {
		t.Fatal(string(body))
	}
}

func TestTheTypeAndMessageOfAnErrorAreSentToAServerThatRecordsErrors(t *testing.T) {
	server := newScriptedServer(t)
	runWorker(t, server.target, func(context.Context, *callback.Call) (callback.Answer, error) {
		return callback.Answer{}, errors.New("no order \xff" + strings.Repeat("7", 500))
	})
	stream := server.welcomed()
	offered := offer("1")
	offered.GetOffer().ReportError = true
	stream.send(offered)
	stream.accepted("1")
	stream.send(confirm("1"))
	said := stream.result("1").GetError()
	if !strings.HasPrefix(said, "*errors.errorString: no order \uFFFD7") || len([]rune(said)) != 400 {
		t.Fatal(said)
	}
}

func TestAConfirmationThatComesTooLateStartsNothing(t *testing.T) {
	server, handler := newScriptedServer(t), newHandling()
	runWorker(t, server.target, handler.handle, callback.WithSlots(1))
	stream := server.welcomed()
	for number := range 20 {
		callID := fmt.Sprint(number)
		stream.send(offer(callID))
		stream.accepted(callID)
		stream.send(withdraw(callID), confirm(callID))
		if result := stream.result(callID); result.GetDeclined() == nil {
			t.Fatal(result)
		}
	}
	if len(handler.started) != 0 {
		t.Fatal("a withdrawn call has started")
	}
}

func TestTheDeadlineOfACallIsThatOfItsTimeoutByTheClockOfTheWorker(t *testing.T) {
	server := newScriptedServer(t)
	runWorker(t, server.target, func(ctx context.Context, call *callback.Call) (callback.Answer, error) {
		if _, has := ctx.Deadline(); has {
			return callback.Answer{}, errors.New("the clock ends it")
		}
		return callback.Accept(callback.Text(call.Deadline.UTC().Format(time.RFC3339))), nil
	})
	stream := server.welcomed()
	past := time.Now().Add(-time.Hour).UTC() // of a server whose clock is behind
	deadline := func(callID string, timeout *durationpb.Duration) time.Time {
		late := offer(callID)
		late.GetOffer().Deadline, late.GetOffer().Timeout = timestamppb.New(past), timeout
		stream.send(late)
		stream.accepted(callID)
		stream.send(confirm(callID))
		body := stream.result(callID).GetResponse().GetResponse().GetResponseBody()
		return got(time.Parse(time.RFC3339, string(body)))(t)
	}
	if seen := deadline("1", nil); !seen.Equal(past.Truncate(time.Second)) {
		t.Fatal(seen)
	}
	if seen := deadline("2", durationpb.New(24*time.Hour)); time.Until(seen) < 23*time.Hour {
		t.Fatal(seen)
	}
}

func TestAnErrorOfAHandlerFailsItsCallAndStaysInTheLog(t *testing.T) {
	server := newScriptedServer(t)
	worker := runWorker(t, server.target, func(_ context.Context, call *callback.Call) (callback.Answer, error) {
		switch call.CallID {
		case "panic":
			panic("secret-panic")
		case "exit":
			runtime.Goexit()
		case "utf8":
			return callback.Accept(callback.Text("").WithHeader("x-name", "\xff")), nil
		case "empty":
			response := &callback.Response{Text: "x", Empty: []callback.ResponseField{callback.FieldText}}
			return callback.Accept(response), nil
		case "large":
			return callback.Accept(callback.Text(strings.Repeat("x", 16<<20))), nil
		case "fine":
			return callback.Reject(callback.Text("no").WithCode(400)), nil
		}
		return callback.Answer{}, errors.New("secret-error")
	})
	stream := server.welcomed()
	for callID, problem := range map[string]string{
		"error": "the handler failed",
		"panic": "the handler failed",
		"exit":  "the handler failed",
		"utf8":  "the handler's answer has text that is not UTF-8",
		"empty": "the handler's answer is refused: response_text: is in Empty, but has a value",
		"large": "the handler's answer is larger than a message can be",
	} {
		stream.run(callID)
		if result := stream.result(callID); result.GetError() != problem {
			t.Fatal(callID, result)
		}
	}
	stream.run("fine")
	if response := stream.result("fine").GetResponse(); response.GetVerdict() != v1.Verdict_VERDICT_REJECTED ||
		response.GetResponse().GetResponseCode() != 400 {
		t.Fatal(response)
	}
	for _, text := range []string{"secret-error", "secret-panic", "call_id=panic", "worker_test.go", "call_id=exit"} {
		if log := worker.log.String(); !strings.Contains(log, text) {
			t.Fatal(text, log)
		}
	}
}

func TestANotificationWithoutAHandlerIsDeclined(t *testing.T) {
	server := newScriptedServer(t)
	runWorker(t, server.target, accepting)
	stream := server.welcomed()
	notification := offer("1")
	notification.GetOffer().Reason = v1.CallReason_CALL_REASON_REMINDER
	stream.send(notification)
	if result := stream.result("1"); result.GetDeclined() == nil {
		t.Fatal(result)
	}
}

func TestMessagesThatAreReadyTogetherAreSentTogether(t *testing.T) {
	server, handler := newScriptedServer(t), newHandling()
	runWorker(t, server.target, handler.handle, callback.WithSlots(200))
	stream := server.welcomed()
	// batches returns in how many requests 200 results come that are ready together: 4, and some more if the machine runs
	// the goroutine that sends them before those that have a result.
	batches := func() (count int) {
		for number := range 200 {
			stream.send(offer(fmt.Sprint(number)))
		}
		for range 200 {
			stream.send(confirm(stream.message().GetAccept().GetCallId()))
		}
		for range 200 {
			receive(t, handler.started)
		}
		close(handler.finish)
		for results := 0; results < 200; count++ {
			request := receive(t, stream.requests)
			results += len(request.GetMessages())
			if len(request.GetMessages()) > 64 {
				t.Fatal(len(request.GetMessages()))
			}
		}
		handler.finish = make(chan struct{})
		return count
	}
	until(t, func() bool { return batches() <= 100 })
}

func TestAStopDeclinesTheCallsThatWaitForASlot(t *testing.T) {
	server, handler := newScriptedServer(t), newHandling()
	worker := runWorker(t, server.target, handler.handle, callback.WithSlots(1))
	stream := server.welcomed()
	stream.run("running")
	receive(t, handler.started)
	stream.send(offer("waiting"))
	worker.stop()
	var declined, drained bool
	for range 2 {
		message := stream.message()
		declined = declined || message.GetResult().GetCallId() == "waiting" && message.GetResult().GetDeclined() != nil
		drained = drained || message.GetDrain() != nil
	}
	if !declined || !drained || len(worker.ended) > 0 {
		t.Fatal(declined, drained, len(worker.ended))
	}
	handler.finish <- struct{}{}
	if result := stream.result("running"); result.GetResponse() == nil {
		t.Fatal(result)
	}
	stream.ending <- nil
	must(t, receive(t, worker.ended))
}

func TestTheContextOfAHandlerEndsWithTheGracePeriod(t *testing.T) {
	server, handler := newScriptedServer(t), newHandling()
	worker := runWorker(t, server.target, handler.handle, callback.WithGrace(10*time.Millisecond))
	stream := server.welcomed()
	stream.run("1")
	receive(t, handler.started)
	worker.stop()
	if err := receive(t, worker.ended); err == nil ||
		err.Error() != "callback: the grace period of 10ms ended before all calls did: 1 still ran" {
		t.Fatal(err)
	}
	if len(handler.cancelled) != 1 { // Run ends after the handlers that end with their context
		t.Fatal("the handler still runs")
	}
}

func TestAWorkerWithoutCallsStopsWithoutAnErrorHoweverShortItsGracePeriodIs(t *testing.T) {
	server := newScriptedServer(t)
	for _, grace := range []time.Duration{0, time.Millisecond} {
		worker := runWorker(t, server.target, accepting, callback.WithGrace(grace), callback.WithSlots(1))
		stream := server.welcomed()
		stream.run("1")
		stream.result("1") // a call that has ended is none
		worker.stop()
		for request := range stream.requests { // until the stream ends: also the worker ends it, after a second
			for _, message := range request.GetMessages() {
				if message.GetDrain() != nil {
					_ = stream.rpc.Send(&v1.WorkResponse{Messages: []*v1.ServerMessage{offer("late")}}) // it crossed Drain
				}
				if message.GetResult() != nil {
					stream.ending <- nil
				}
			}
		}
		must(t, receive(t, worker.ended))
	}
}

func TestAWorkerRunsOnceAtATime(t *testing.T) {
	server := newScriptedServer(t)
	worker := runWorker(t, server.target, accepting)
	stream := server.welcomed()
	closed(t, worker.Ready())
	if err := worker.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stop it first, or make another one") {
		t.Fatal(err)
	}
	worker.stop()
	stream.message()
	stream.ending <- nil
	must(t, receive(t, worker.ended))
	ended, end := context.WithCancel(t.Context())
	end()
	must(t, worker.Run(ended))
}

func TestAWorkerKeepsItsLastTokenWhileTheFileIsUnusable(t *testing.T) {
	server, handler := newScriptedServer(t), newHandling()
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("token-1\n"), 0o600))
	worker := runWorker(t, server.target, handler.handle, callback.WithTokenFile(file))
	stream := server.welcomed()
	stream.run("1")
	receive(t, handler.started)
	must(t, os.WriteFile(file, nil, 0o600)) // while it is replaced
	stream.ending <- status.Error(codes.Unavailable, "lost")
	if token := server.welcomed().metadata.Get("authorization"); !slices.Equal(token, []string{"Bearer token-1"}) {
		t.Fatal(token)
	}
	receive(t, handler.cancelled)
	until(t, func() bool { return strings.Contains(worker.log.String(), "handler_cancelled") })
	if log := worker.log.String(); !strings.Contains(log, "token_file_unusable") || strings.Contains(log, "token-1") {
		t.Fatal(log)
	}
}

func TestAWorkerTakesANewTokenFromItsFileAndFinishesItsCallsOnTheOldStream(t *testing.T) {
	server, handler := newScriptedServer(t), newHandling()
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("token-1"), 0o600))
	worker := runWorker(t, server.target, handler.handle, callback.WithTokenFile(file))
	first := server.welcomed()
	first.run("1")
	receive(t, handler.started)
	must(t, os.WriteFile(file, []byte("token-2"), 0o600))
	server.next().ending <- status.Error(codes.Unauthenticated, "not known yet")
	first.run("2")
	receive(t, handler.started)
	if token := server.welcomed().metadata.Get("authorization"); !slices.Equal(token, []string{"Bearer token-2"}) {
		t.Fatal(token)
	}
	if first.message().GetDrain() == nil {
		t.Fatal("no drain")
	}
	close(handler.finish)
	for range 2 {
		if result := first.message().GetResult(); result.GetResponse().GetVerdict() != v1.Verdict_VERDICT_ACCEPTED {
			t.Fatal(result)
		}
	}
	if log := worker.log.String(); !strings.Contains(log, "files_changed") || strings.Contains(log, "token-") {
		t.Fatal(log)
	}
}

func TestAServerWithoutWorkersIsAnErrorOfTheFirstConnection(t *testing.T) {
	server := newScriptedServer(t)
	worker := runWorker(t, server.target, accepting)
	server.next().ending <- status.Error(codes.Unimplemented, "no")
	var refused *callback.Error
	if err := receive(t, worker.ended); !errors.As(err, &refused) || refused.Code != codes.Unimplemented {
		t.Fatal(err)
	}
}

func TestAWorkerConnectsToAnotherServerOfItsTarget(t *testing.T) {
	server := newScriptedServer(t)
	for _, target := range []string{"ipv4:127.0.0.1:1," + server.target, "localhost:1," + server.target} {
		runWorker(t, target, accepting)
		server.welcomed()
	}
}

func TestAWorkerLogsWhatItsServerCannotRender(t *testing.T) {
	server := newScriptedServer(t)
	worker := runWorker(t, server.target, accepting)
	refusal := &v1.RefuseAnswerRequest{CallId: "1", CallbackActivity: "order-paid", Problem: "302 is no code"}
	server.welcomed().send(&v1.ServerMessage{Message: &v1.ServerMessage_AnswerRefused{AnswerRefused: refusal}})
	until(t, func() bool { return strings.Contains(worker.log.String(), `problem="302 is no code"`) })
}

func TestAWorkerThatIsMadeWronglyIsRefused(t *testing.T) {
	var handlers callback.Handlers
	handlers.Handle("a", accepting)
	refused := func(name, target string, handlers *callback.Handlers, options ...callback.WorkerOption) {
		t.Helper()
		if worker, err := callback.NewWorker(target, handlers, options...); err == nil || worker != nil {
			t.Error(name)
		}
	}
	refused("no handlers", "127.0.0.1:1", &callback.Handlers{})
	refused("no set of handlers", "127.0.0.1:1", nil)
	refused("port", "localhost", &handlers)
	refused("url", "http://localhost:1", &handlers)
	refused("slots", "a:1", &handlers, callback.WithSlots(0))
	refused("token", "a:1", &handlers, callback.WithToken("a b"))
	refused("two tokens", "a:1", &handlers, callback.WithToken("a"), callback.WithToken("b"))
	refused("name", "a:1", &handlers, callback.WithName("\xff"))
	refused("grace", "a:1", &handlers, callback.WithGrace(-1))
	refused("nil option", "a:1", &handlers, nil)
	refused("nil logger", "a:1", &handlers, callback.WithLogger(nil))
	refused("nil source", "a:1", &handlers, callback.WithTokenSource(nil))
	refused("nil option of gRPC", "a:1", &handlers, callback.WithDialOptions(nil))
	for name, register := range map[string]func(){
		"twice": func() { handlers.Handle("a", accepting) },
		"nil":   func() { handlers.Handle("b", nil) },
		"empty": func() { handlers.HandleNotification("", nil) },
		"utf8":  func() { handlers.Handle("\xff", accepting) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name)
				}
			}()
			register()
		}()
	}
}

func TestWhatIsNilIsRefused(t *testing.T) {
	var none context.Context
	client := unreachable(t)
	for name, request := range requests(client) {
		if err := request(none); !errors.Is(err, callback.ReasonInvalidRequest) || !strings.Contains(err.Error(), "the context is nil") {
			t.Error(name, err)
		}
	}
	if _, err := client.GenerateCallbackURL(t.Context(), "a", nil, nil); !errors.Is(err, callback.ReasonInvalidRequest) {
		t.Error(err)
	}
	if _, err := callback.NewClient("a:1", nil); err == nil {
		t.Error("a nil option")
	}
	if _, err := callbacktest.Start(nil, nil); err == nil {
		t.Error("a nil option of a test system")
	}
	var handlers callback.Handlers
	handlers.Handle("a", accepting)
	worker := got(callback.NewWorker("127.0.0.1:1", &handlers))(t)
	listener := got(net.Listen("tcp", "127.0.0.1:0"))(t)
	server := grpc.NewServer()
	for name, err := range map[string]error{
		"run":            worker.Run(none),
		"listen":         callback.ListenAndServe(none, "127.0.0.1:0", &handlers),
		"serve":          callback.Serve(t.Context(), nil, &handlers),
		"serve nobody":   callback.Serve(t.Context(), listener, nil),
		"serve with nil": callback.ListenAndServe(t.Context(), "127.0.0.1:0", &handlers, callback.WithServerOptions(nil)),
		"register":       callback.RegisterHandlers(nil, &handlers),
		"register none":  callback.RegisterHandlers(server, nil),
		"register empty": callback.RegisterHandlers(server, &callback.Handlers{}),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "callback: ") {
			t.Error(name, err)
		}
	}
}

func TestCallsOfManyStreamsShareTheSlots(t *testing.T) {
	server := newScriptedServer(t)
	var running, most atomic.Int32
	finish := make(chan struct{})
	worker := runWorker(t, server.target, func(context.Context, *callback.Call) (callback.Answer, error) {
		most.Store(max(most.Load(), running.Add(1)))
		<-finish
		running.Add(-1)
		return callback.Answer{}, nil
	}, callback.WithSlots(1))
	first := server.welcomed()
	first.run("1")
	first.send(drain())
	second := server.welcomed()
	second.send(offer("2"))
	until(t, func() bool { return running.Load() == 1 })
	finish <- struct{}{}
	first.result("1")
	second.accepted("2")
	second.send(confirm("2"), confirm("2"))
	finish <- struct{}{}
	second.result("2")
	if most.Load() != 1 {
		t.Fatal(most.Load())
	}
	if log := worker.log.String(); strings.Contains(log, "worker_disconnected") || !strings.Contains(log, "server_draining") {
		t.Fatal(log)
	}
}
