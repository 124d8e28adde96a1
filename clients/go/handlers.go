package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	v1 "callback.example/callback/v1"
)

// Handler decides on a call.
//
//  1. An [Answer] without an error accepts or rejects the call, as it says.
//  2. An error fails the call, and so does a panic. It is logged with the id of the call, and sent only to a server that
//     records errors of handlers. That of [Call.JSON] rejects the call with a 400.
//  3. A response that the server cannot render, such as one with the code 302, fails the call. The server reports the
//     problem, and it is logged.
//  4. The context ends when the server withdraws the call at its deadline, when the server is lost, and at the end of the
//     grace period of a stop. A decision after that has no effect. It does not end when the caller disconnects.
type Handler func(ctx context.Context, call *Call) (Answer, error)

// NotificationHandler takes a notification: a reminder, or the expiry of a callback that asks for them ([WithNotify]).
// An accepting answer takes it, a rejection refuses it for good, and an error fails the attempt: the server tries again
// later. There is no caller, so a response has no effect.
type NotificationHandler func(ctx context.Context, notification *Notification) (Answer, error)

// Handlers are the handlers of a service, by activity. The zero value is ready to use. Register all of them before a
// worker or server starts.
type Handlers struct {
	calls         map[string]Handler
	notifications map[string]NotificationHandler
}

// Handle registers the handler of the calls of an activity. It panics if the handler is nil, or if the name is
// empty or has a handler already, as [net/http.ServeMux] does.
func (h *Handlers) Handle(activity string, handler Handler) {
	register(&h.calls, activity, handler, handler == nil)
}

// HandleNotification registers the handler of the notifications of an activity. It panics as Handle does.
func (h *Handlers) HandleNotification(activity string, handler NotificationHandler) {
	register(&h.notifications, activity, handler, handler == nil)
}

// Activities returns the activities that have a handler of their calls, sorted by name.
func (h *Handlers) Activities() []string { return slices.Sorted(maps.Keys(h.calls)) }

// NotificationActivities returns the activities that have a handler of their notifications, sorted by name.
func (h *Handlers) NotificationActivities() []string {
	return slices.Sorted(maps.Keys(h.notifications))
}

// check returns an error if a worker or server with these handlers could not begin.
func (h *Handlers) check() error {
	if h == nil || len(h.served()) == 0 {
		return errors.New("callback: at least one handler is needed: register it with Handlers.Handle")
	}
	return nil
}

// served returns the activities that have a handler of either kind.
func (h *Handlers) served() []string {
	names := append(h.Activities(), h.NotificationActivities()...)
	slices.Sort(names)
	return slices.Compact(names)
}

func register[Registered any](table *map[string]Registered, activity string, handler Registered, isNil bool) {
	switch _, exists := (*table)[activity]; {
	case activity == "":
		panic("callback: the name of an activity must not be empty")
	case !utf8.ValidString(activity):
		panic(fmt.Sprintf("callback: the name of the activity %q must be UTF-8", activity))
	case isNil:
		panic(fmt.Sprintf("callback: the handler of %q is nil", activity))
	case exists:
		panic(fmt.Sprintf("callback: the activity %q already has a handler", activity))
	}
	if *table == nil {
		*table = map[string]Registered{}
	}
	(*table)[activity] = handler
}

// decider returns the function that decides on a request, which has just arrived, with its handler. Nil if there is no
// handler.
func (h *Handlers) decider(request *v1.HandleCallbackRequest) func(context.Context) (Answer, error) {
	if isNotification(request) {
		if handler := h.notifications[request.GetCallbackActivity()]; handler != nil {
			notification := notificationOf(request)
			notification.Deadline = deadlineOf(request)
			return func(ctx context.Context) (Answer, error) { return handler(ctx, notification) }
		}
	} else if handler := h.calls[request.GetCallbackActivity()]; handler != nil {
		call := callOf(request)
		call.Deadline = deadlineOf(request)
		return func(ctx context.Context) (Answer, error) { return handler(ctx, call) }
	}
	return nil
}

func isNotification(request *v1.HandleCallbackRequest) bool {
	reason := request.GetReason()
	return reason != v1.CallReason_CALL_REASON_UNSPECIFIED && reason != v1.CallReason_CALL_REASON_CALL
}

// maxReportedCharacters is how much of the error of a handler is sent. With the name of the worker, it fits into the
// failure detail of a call.
const maxReportedCharacters = 400

// failureOf returns what the server gets to know of an error of a handler: its type and message only if the server
// records errors.
func failureOf(request *v1.HandleCallbackRequest, err error) error {
	if !request.GetReportError() {
		return errors.New("the handler failed")
	}
	message, _, _ := strings.Cut(err.Error(), "\n") // the rest of a panic is its stack
	text := []rune(strings.ToValidUTF8(fmt.Sprintf("%T: %s", err, message), "\uFFFD"))
	return errors.New(string(text[:min(len(text), maxReportedCharacters)]))
}

// decide runs a handler, and returns its decision. The text of an error can be sent to the server.
func decide(
	ctx context.Context, logger *slog.Logger, request *v1.HandleCallbackRequest,
	decider func(context.Context) (Answer, error), maxBytes int,
) (*v1.HandleCallbackResponse, error) {
	logger = logger.With("activity", request.GetCallbackActivity(), "call_id", request.GetCallId())
	answer, err := recovered(withTraceContext(ctx, request.GetTraceparent()), decider)
	if err != nil && ctx.Err() != nil { // by the deadline, a stop, or a lost connection
		logger.Warn("handler_cancelled", "error", err)
		return nil, errors.New("the handler was cancelled")
	}
	if body := (*bodyError)(nil); errors.As(err, &body) {
		answer, err = Reject(Text(body.problem).WithCode(400)), nil
	}
	if err != nil {
		logger.Error("handler_failed", "error", err)
		return nil, failureOf(request, err)
	}
	if refused := answer.Response.checkEmpty(); refused != nil {
		logger.Error("handler_failed", "error", refused)
		return nil, errors.New("the handler's answer is refused: " + refused.Message)
	}
	decision := decisionOf(answer)
	if invalidText(decision.ProtoReflect()) != "" {
		err := errors.New("the handler's answer has text that is not UTF-8")
		logger.Error("handler_failed", "error", err)
		return nil, err
	}
	if size := proto.Size(decision); size > maxBytes {
		logger.Error("answer_too_large", "bytes", size)
		return nil, errors.New("the handler's answer is larger than a message can be")
	}
	return decision, nil
}

// recovered runs a handler, and returns a panic, or the end of its goroutine, as an error with the stack.
func recovered(ctx context.Context, decider func(context.Context) (Answer, error)) (answer Answer, err error) {
	ended := make(chan struct{})
	go func() { // a goroutine of its own, because runtime.Goexit, as of testing.T.FailNow, ends it
		defer close(ended)
		finished := false
		defer func() {
			if panicked := recover(); panicked != nil {
				err = fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
			} else if !finished {
				err = fmt.Errorf("the handler ended its goroutine\n%s", debug.Stack())
			}
		}()
		answer, err = decider(ctx)
		finished = true
	}()
	<-ended
	return answer, err
}

func logAnswerRefused(logger *slog.Logger, refusal *v1.RefuseAnswerRequest) {
	logger.Error("answer_refused", "activity", refusal.GetCallbackActivity(), "call_id", refusal.GetCallId(),
		"problem", refusal.GetProblem())
}
