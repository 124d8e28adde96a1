package callback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	v1 "callback.example/callback/v1"
)

// Client is a client of a Callback server: it generates URLs, sets responses, answers calls, and reads and watches what
// arrived.
//
// Make one with NewClient: the zero value is not usable. It connects with its first request, and reconnects by itself. It
// serves any number of concurrent requests.
//
// Each request ends with its context, or after [DefaultTimeout] ([WithTimeout]) if that has no deadline. While the
// server or its store is unreachable, the client sends the request again with exponential backoff. All requests are safe
// to send twice (see GenerateCallbackURL for its condition). Every error of a request is an [*Error].
type Client struct {
	connection *connection
	opened     *grpc.ClientConn
	closing    func() error
	callbacks  v1.CallbacksServiceClient
	operations v1.OperationsServiceClient
	audit      v1.AuditServiceClient
	profiles   v1.ProfilesServiceClient
}

// NewClient returns a client. The target is host:port, several of them with commas between, of which the client uses the
// first one that it can reach, or another target of gRPC such as dns:///callback:50051 or unix:/run/callback.sock.
func NewClient(target string, options ...ClientOption) (*Client, error) {
	given, err := settingsOf(options)
	if err != nil {
		return nil, err
	}
	connection, err := newConnection(target, given)
	if err != nil {
		return nil, err
	}
	opened, err := connection.open()
	if err != nil {
		return nil, err
	}
	return &Client{
		connection: connection,
		opened:     opened,
		closing:    sync.OnceValue(opened.Close),
		callbacks:  v1.NewCallbacksServiceClient(opened),
		operations: v1.NewOperationsServiceClient(opened),
		audit:      v1.NewAuditServiceClient(opened),
		profiles:   v1.NewProfilesServiceClient(opened),
	}, nil
}

// Close closes the connection. Requests in progress, and later ones, fail with [ErrClosed]. Closing twice has no effect.
func (c *Client) Close() error { return c.closing() }

// deadlinePrecision is how much earlier than the context gRPC or a server may find that a deadline has passed.
const deadlinePrecision = 100 * time.Millisecond

// failure returns the error of a request for an error of gRPC.
func (c *Client) failure(ctx context.Context, err error, request proto.Message) *Error {
	refused := fromRPCError(err, c.connection.target, c.connection.credentials != nil)
	deadline, hasDeadline := ctx.Deadline()
	if refused.Code == codes.DeadlineExceeded && hasDeadline && time.Until(deadline) < deadlinePrecision {
		<-ctx.Done()
	}
	switch {
	case refused.Code == codes.Canceled && c.opened.GetState() == connectivity.Shutdown:
		return &Error{Code: codes.Canceled, Message: "the client is closed", causes: []error{ErrClosed}}
	case refused.Code == codes.Canceled && ctx.Err() == nil:
		refused.Code = codes.Unavailable
		refused.Message = c.connection.target + " cancelled the request, as a server that stops does"
	case refused.Code == codes.Internal && refused.Reason == "": // of gRPC, which sends no message with such a text
		if field := invalidText(request.ProtoReflect()); field != "" {
			return invalidField(field, "must be UTF-8")
		}
	}
	return refused
}

// GenerateOption is an option of [Client.GenerateCallbackURL].
type GenerateOption interface {
	set(*v1.GenerateCallbackUrlRequest) *Error
}

type generateOption func(*v1.GenerateCallbackUrlRequest) *Error

func (o generateOption) set(request *v1.GenerateCallbackUrlRequest) *Error { return o(request) }

// GenerateCallbackURL stores a case durably, and returns its URL. The activity decides what happens on a call: record,
// form, or an activity of your handlers. The response is that to a call, unless its handler overrides it.
//
// Without [WithRequestID] the client generates an id, so that it can send the request again after a lost response
// without creating a second case. That covers this one call: to be safe across a restart of your program, give an id of
// your own, such as the order number. A server without a state_key refuses ids. The client then sends the request
// without one, once.
//
// Errors: INVALID_REQUEST (nothing was stored), REQUEST_ID_REUSED, REQUEST_ID_UNSUPPORTED, ACTIVITY_NOT_ALLOWED,
// TOO_MANY_OPEN_CALLBACKS, [ErrUnavailable].
func (c *Client) GenerateCallbackURL(
	ctx context.Context, activity string, response *Response, options ...GenerateOption,
) (*GeneratedCallback, error) {
	request, refused := generateRequest(activity, response, options)
	if refused != nil {
		return nil, refused
	}
	isOwn := request.GetRequestId() == "" && c.connection.retry
	if isOwn {
		request.RequestId = rand.Text()
	}
	reply, err := invoke(ctx, c, c.callbacks.GenerateCallbackUrl, request, c.connection.retry)
	if isOwn && errors.Is(err, ReasonRequestIDUnsupported) {
		request.RequestId = ""
		reply, err = invoke(ctx, c, c.callbacks.GenerateCallbackUrl, request, false)
	}
	if err != nil {
		return nil, err
	}
	return c.generated(reply), nil
}

// NewCallback is a request of [Client.GenerateCallbackURLs]: the arguments of [Client.GenerateCallbackURL].
type NewCallback struct {
	Activity string
	Response *Response
	Options  []GenerateOption
}

// GenerateResult is what became of a [NewCallback]: Callback, or Err, which is an [*Error].
type GenerateResult struct {
	Callback *GeneratedCallback
	Err      error
}

// GenerateCallbackURLs stores up to 500 cases durably, together at most 4 MiB, and returns a result for each in their
// order. One that fails does not keep the others from their URLs, so look at each result.
//
// Requests whose result is [ErrUnavailable] are sent again, together, until the deadline. After [ErrUnavailable], of the
// request or of a result, the case may exist: send it again with the same request id. An id that the client generates
// covers this one call, as in GenerateCallbackURL.
//
// Errors: INVALID_REQUEST (nothing was stored), [ErrUnavailable].
func (c *Client) GenerateCallbackURLs(ctx context.Context, callbacks []NewCallback) ([]GenerateResult, error) {
	requests, isOwn := make([]*v1.GenerateCallbackUrlRequest, len(callbacks)), make([]bool, len(callbacks))
	waiting := make([]int, len(callbacks)) // places of requests to send
	for place, made := range callbacks {
		request, refused := generateRequest(made.Activity, made.Response, made.Options)
		if refused != nil {
			return nil, refused
		}
		if isOwn[place] = request.GetRequestId() == "" && c.connection.retry; isOwn[place] {
			request.RequestId = rand.Text()
		}
		requests[place], waiting[place] = request, place
	}
	ctx, cancel, refused := c.limited(ctx)
	if refused != nil {
		return nil, refused
	}
	defer cancel()
	deadline, _ := ctx.Deadline()
	pauses := pauses{next: 100 * time.Millisecond, longest: 2 * time.Second}
	results := make([]GenerateResult, len(callbacks))
	for isFirst := true; ; isFirst = false {
		batch, isSafe := &v1.GenerateCallbackUrlsRequest{}, c.connection.retry
		for _, place := range waiting {
			batch.Requests = append(batch.Requests, requests[place])
			isSafe = isSafe && requests[place].GetRequestId() != ""
		}
		reply, err := invoke(ctx, c, c.callbacks.GenerateCallbackUrls, batch, isSafe)
		switch {
		case err != nil && isFirst:
			return nil, err
		case err != nil:
			for _, place := range waiting {
				results[place] = GenerateResult{Err: err} // the others have their URLs
			}
			return results, nil
		}
		var again []int
		var pause time.Duration
		for index, result := range reply.GetResults() {
			place := waiting[index]
			if result.GetProblem() == nil {
				results[place] = GenerateResult{Callback: c.generated(result.GetGenerated())}
				continue
			}
			problem := status.ErrorProto(result.GetProblem())
			refused := fromRPCError(problem, c.connection.target, c.connection.credentials != nil)
			results[place] = GenerateResult{Err: refused}
			switch {
			case isOwn[place] && refused.Reason == ReasonRequestIDUnsupported: // as in GenerateCallbackURL
				requests[place].RequestId, isOwn[place] = "", false
				again = append(again, place)
			case c.connection.retry && refused.isRetryable() && requests[place].GetRequestId() != "":
				again = append(again, place)
				if pause == 0 {
					pause = pauses.take(refused.RetryAfter)
				}
			}
		}
		if len(again) == 0 || pause >= time.Until(deadline) {
			return results, nil
		}
		sleep(ctx, pause) // if the context ends, the next request has the error that says so
		waiting = again
	}
}

// generateRequest returns the request for a callback.
func generateRequest(
	activity string, response *Response, options []GenerateOption,
) (*v1.GenerateCallbackUrlRequest, *Error) {
	if refused := response.checkEmpty(); refused != nil {
		return nil, refused
	}
	request := &v1.GenerateCallbackUrlRequest{CallbackActivity: activity, Response: ifSet(response, responseMessage)}
	for _, each := range options {
		if each == nil {
			return nil, refusal("an option is nil")
		}
		if refused := each.set(request); refused != nil {
			return nil, refused
		}
	}
	return request, nil
}

// generated returns the callback that a server has generated, and logs its warnings.
func (c *Client) generated(reply *v1.GenerateCallbackUrlResponse) *GeneratedCallback {
	made := generatedCallbackOf(reply)
	for _, warning := range made.Warnings {
		c.connection.logger.Warn("callback_warning", "case_id", made.CaseID, "text", warning.Text)
	}
	return made
}

// SetResponse replaces attributes of the response of a case that is not closed, and returns the case: each attribute
// that the response has, and each one of reset, which returns to its default. A call that runs or is held is answered
// with the new response, if it is accepted.
//
// Errors: INVALID_REQUEST, [ErrNotFound], CALLBACK_CLOSED, [ErrUnavailable].
func (c *Client) SetResponse(
	ctx context.Context, caseID string, response *Response, reset ...ResponseField,
) (*Callback, error) {
	if refused := response.checkEmpty(); refused != nil {
		return nil, refused
	}
	request := &v1.SetResponseRequest{CallbackCaseId: caseID, Response: ifSet(response, responseMessage)}
	if request.Response == nil {
		request.Response = &v1.Response{}
	}
	request.UpdateMask = &fieldmaskpb.FieldMask{Paths: givenFields(request.GetResponse())}
	for _, field := range reset {
		request.UpdateMask.Paths = append(request.UpdateMask.Paths, string(field))
	}
	reply, err := invoke(ctx, c, c.callbacks.SetResponse, request, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return callbackOf(reply.GetCallback()), nil
}

// AnswerCall answers a held call (mode HOLD, activity form), and returns it. Sending the same answer again has no effect.
// A call can be answered after its case was closed.
//
// Errors: INVALID_REQUEST, [ErrNotFound], CALL_ANSWERED, CALL_NOT_HELD, [ErrUnavailable].
func (c *Client) AnswerCall(ctx context.Context, callID string, answer Answer) (*RecordedCall, error) {
	if refused := answer.Response.checkEmpty(); refused != nil {
		return nil, refused
	}
	request := decided(&v1.AnswerCallRequest{CallId: callID}, answer)
	reply, err := invoke(ctx, c, c.callbacks.AnswerCall, request, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return recordedCallOf(reply.GetCall()), nil
}

// ResolveCallback gives a case that holds calls its answer, and returns the case. The calls that are held now get the
// answer, and so does each later call, at once: a webhook can answer the visitor, whichever of the two comes first.
// Sending the same answer again has no effect. A rejection of a case with WithRetryableAfterError answers only the calls
// that are held now: sent again, it rejects the call that is held then.
//
// Errors: INVALID_REQUEST, [ErrNotFound], CALL_NOT_HELD, CALLBACK_RESOLVED, CALLBACK_CLOSED, [ErrUnavailable]. The answer
// can neither keep the case open nor close it.
func (c *Client) ResolveCallback(ctx context.Context, caseID string, answer Answer) (*Callback, error) {
	if answer.KeepOpen || answer.Close {
		return nil, refusal("an answer to all calls of a callback cannot keep it open, or close it: use CloseCallback")
	}
	if refused := answer.Response.checkEmpty(); refused != nil {
		return nil, refused
	}
	request := decided(&v1.ResolveCallbackRequest{CallbackCaseId: caseID}, answer)
	reply, err := invoke(ctx, c, c.callbacks.ResolveCallback, request, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return callbackOf(reply.GetCallback()), nil
}

// WaitForCall waits for a call of a case to end, and returns it with its body: the earliest one with a greater Attempt
// than after (0 for the first call). No call is missed between generating the URL and waiting. It waits until the context
// ends, without a limit if the context has none, also while the server is away, unless the client has [WithoutRetries].
// It is a watch: while nothing happens to the case, nothing is requested. Only a wait that exceeds the number of watches
// that a server allows looks again and again, about once a second.
//
// Errors: CALLBACK_CLOSED (there is no such call, and none can arrive), [context.DeadlineExceeded] and [context.Canceled]
// (the context ended first), [ErrNotFound], [ErrUnavailable], and, without retries, TOO_MANY_WATCHERS.
func (c *Client) WaitForCall(ctx context.Context, caseID string, after int64) (*RecordedCall, error) {
	pauses := pauses{next: 100 * time.Millisecond, longest: time.Second}
	var watch *Watch // nil: to be opened
	defer func() {
		if watch != nil {
			watch.Close()
		}
	}()
	for {
		found, err := c.endedCall(ctx, caseID, after)
		hasEnded := false // of a watch that had begun: the next look says why, as with a token that was replaced
		if found == nil && err == nil {
			isNew := watch == nil
			if isNew {
				watch = c.newWatch(ctx, WatchQuery{CaseID: caseID})
			}
			if err = watch.untilChange(isNew); err == nil {
				continue
			}
			watch.Close()
			watch = nil
			hasEnded = !isNew && !errors.Is(err, ErrUnavailable)
		}
		goesOn := hasEnded || (errors.Is(err, ErrUnavailable) || errors.Is(err, ReasonTooManyWatchers)) && c.connection.retry
		if found != nil || err != nil && !goesOn && !isOfContext(err) {
			return found, err
		}
		if err != nil && !goesOn && ctx.Err() == nil { // of one request, and not of the wait
			return nil, err
		}
		if !sleep(ctx, pauses.take(0)) {
			late := &Error{Code: codes.DeadlineExceeded, Message: fmt.Sprintf("no call of the callback %s ended in time", caseID)}
			return nil, late.endedBy(ctx, "the wait for a call of the callback "+caseID)
		}
	}
}

// endedCall returns the earliest stored call after a number that has ended, with its body. Nil if none has.
func (c *Client) endedCall(ctx context.Context, caseID string, after int64) (*RecordedCall, error) {
	found, err := c.GetCallback(ctx, caseID)
	if err != nil {
		return nil, err
	}
	var earliest *RecordedCall
	isRunning := false
	if found.CallCount > after {
		for call, err := range c.ListCalls(ctx, CallQuery{CaseID: caseID, PageSize: 100}) {
			if err != nil {
				return nil, err
			}
			if call.Attempt <= after {
				break
			}
			if !call.EndTime.IsZero() {
				earliest = call
			}
			isRunning = isRunning || call.Status == CallRunning
		}
	}
	if earliest != nil {
		return c.GetCall(ctx, earliest.CallID)
	}
	if found.Status == CallbackClosed && !isRunning {
		return nil, &Error{
			Reason:  ReasonCallbackClosed,
			Code:    ReasonCallbackClosed.Code(),
			Message: fmt.Sprintf("the callback %s is closed, so no further call can arrive", caseID),
			Facts:   map[string]string{"close_reason": string(found.CloseReason)},
		}
	}
	return nil, nil
}

// limited returns the context of a request, which has the timeout of the client if it has no deadline.
func (c *Client) limited(ctx context.Context) (context.Context, context.CancelFunc, *Error) {
	if ctx == nil {
		return nil, nil, refusal("the context is nil")
	}
	if _, hasDeadline := ctx.Deadline(); hasDeadline {
		return ctx, func() {}, nil
	}
	limited, cancel := context.WithTimeout(ctx, c.connection.timeout)
	return limited, cancel, nil
}

// invoke sends a request, again and again while the server is unreachable and time is left.
func invoke[Request, Reply any](
	ctx context.Context, client *Client, method func(context.Context, *Request, ...grpc.CallOption) (*Reply, error),
	request *Request, retry bool,
) (*Reply, error) {
	ctx, cancel, refused := client.limited(ctx)
	if refused != nil {
		return nil, refused
	}
	defer cancel()
	deadline, _ := ctx.Deadline()
	pauses := pauses{next: 100 * time.Millisecond, longest: 2 * time.Second}
	for {
		outgoing, refused := client.connection.outgoing(ctx)
		if refused == nil {
			reply, err := method(outgoing, request)
			if err == nil {
				return reply, nil
			}
			refused = client.failure(ctx, err, any(request).(proto.Message))
		}
		if retry && refused.isRetryable() {
			if left := time.Until(deadline); left > 0 && refused.RetryAfter >= left { // none is left: the context ends in a moment
				refused.causes = []error{context.DeadlineExceeded}
				return nil, refused.endedBy(ctx, "the request")
			}
			if sleep(ctx, pauses.take(refused.RetryAfter)) {
				continue
			}
		}
		return nil, refused.endedBy(ctx, "the request")
	}
}

// allPages returns the items of all pages, from the one with a token.
func allPages[Item any](token string, page func(token string) ([]Item, string, error)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for token := token; ; {
			items, next, err := page(token)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if token = next; token == "" {
				return
			}
		}
	}
}

// givenFields returns the names of the attributes that a response has.
func givenFields(response *v1.Response) (names []string) {
	response.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		names = append(names, string(field.Name()))
		return true
	})
	return names
}
