package callback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	v1 "callback.example/callback/internal/v1"
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
	stub       v1.CallbacksServiceClient
	operations v1.OperationsServiceClient
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
		stub:       v1.NewCallbacksServiceClient(opened),
		operations: v1.NewOperationsServiceClient(opened),
	}, nil
}

// Close closes the connection. Requests in progress, and later ones, fail with [ErrClosed]. Closing twice has no effect.
func (c *Client) Close() error { return c.closing() }

// deadlinePrecision is how much earlier than the context gRPC or a server may find that a deadline has passed.
const deadlinePrecision = 100 * time.Millisecond

// failure returns the error of a request for an error of gRPC.
func (c *Client) failure(ctx context.Context, err error, request proto.Message) *Error {
	refused := fromRPCError(err, c.connection.target)
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
	set(*v1.GenerateCallbackUrlRequest)
}

type generateOption func(*v1.GenerateCallbackUrlRequest)

func (o generateOption) set(request *v1.GenerateCallbackUrlRequest) { o(request) }

// WithRequestID makes the request safe to repeat, also across a restart of the program: the same id and content return
// the same URL for as long as the case is stored.
func WithRequestID(id string) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.RequestId = id })
}

// WithActivityCase passes a text to the handler unchanged.
func WithActivityCase(text string) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.CallbackActivityCase = text })
}

// WithStateQueryParameter makes the URL /cbq/{name}?{name}={state}, for OAuth, SAML and similar protocols.
func WithStateQueryParameter(name string) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.StateQueryParameter = name })
}

// WithRetryableAfterError leaves a single-use case (one without WithMultipleCalls) open after a rejected, failed or
// interrupted call.
func WithRetryableAfterError() GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.RetryableAfterError = true })
}

// WithMultipleCalls accepts any number of calls, whatever their results, until the case is closed or expires.
func WithMultipleCalls() GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.AllowMultipleCalls = true })
}

// WithAlternativeDomain sets https://host[:port] of the URL, instead of that of the server.
func WithAlternativeDomain(origin string) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.AlternativeDomain = origin })
}

// WithTimeToLive closes the case after this time.
func WithTimeToLive(after time.Duration) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.TimeToLive = durationpb.New(after) })
}

// WithLabel adds a name and a value of your choice, by which to find the case.
func WithLabel(name, value string) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) {
		if request.Labels == nil {
			request.Labels = map[string]string{}
		}
		request.Labels[name] = value
	})
}

// WithVerificationProfile sets the profile, declared in the configuration of the server, that every request must pass.
func WithVerificationProfile(name string) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.VerificationProfile = name })
}

// WithGetGuard sets how to treat a GET that may not come from a person.
func WithGetGuard(guard GetGuard) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) {
		request.GetGuard = numberOf[v1.GetGuard](guard)
	})
}

// WithPrompt sets what the page of the guard CONFIRM asks.
func WithPrompt(prompt Prompt) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.Prompt = promptMessage(prompt) })
}

// WithAnswerMode sets how a call gets its response. The default is from the handler, while the caller waits; for the
// activity form, it is HOLD.
func WithAnswerMode(mode AnswerMode) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) {
		request.AnswerMode = numberOf[v1.AnswerMode](mode)
	})
}

// WithAnswerDeadline sets the time after which the caller gets the fallback while the call continues, or without a
// fallback is told to wait.
func WithAnswerDeadline(after time.Duration) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.AnswerDeadline = durationpb.New(after) })
}

// WithFallback sets the response at the answer deadline. It requires WithAnswerDeadline.
func WithFallback(response *Response) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.Fallback = responseMessage(response) })
}

// WithOrdered handles the calls of an ACK case one after the other, in their order.
func WithOrdered() GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.Ordered = true })
}

// WithHoldTime sets how long a held call waits for its answer, before it fails.
func WithHoldTime(limit time.Duration) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.HoldTime = durationpb.New(limit) })
}

// WithRepeatWindow sets how long after the end of a call the same request (method, query and body) gets the answer of
// that call, in place of making another call. 0: it is another call.
func WithRepeatWindow(window time.Duration) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.RepeatWindow = durationpb.New(window) })
}

// WithNoRepeat gives no answer twice: the same request again gets a 410.
func WithNoRepeat() GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.NoRepeat = true })
}

// WithClosedResponse sets the response to requests after the case is closed, such as a page "already done".
func WithClosedResponse(response *Response) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) { request.ClosedResponse = responseMessage(response) })
}

// WithRemindAfter sets the times after the creation of the case at which its handler gets a reminder, until the case is
// closed or resolved. It requires OfReminder in WithNotify.
func WithRemindAfter(times ...time.Duration) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) {
		request.RemindAfter = append(request.RemindAfter, each(times, durationpb.New)...)
	})
}

// WithNotify sets the notifications that the handler gets ([Handlers.HandleNotification]): OfReminder, OfExpiry, or both.
func WithNotify(reasons ...CallReason) GenerateOption {
	return generateOption(func(request *v1.GenerateCallbackUrlRequest) {
		for _, reason := range reasons {
			number := numberOf[v1.CallReason](reason)
			request.Notify = append(request.Notify, number)
		}
	})
}

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
	request := &v1.GenerateCallbackUrlRequest{CallbackActivity: activity, Response: responseMessage(response)}
	for _, each := range options {
		if each == nil {
			return nil, refusal("an option is nil")
		}
		each.set(request)
	}
	isOwn := request.GetRequestId() == "" && c.connection.retry
	if isOwn {
		request.RequestId = rand.Text()
	}
	reply, err := invoke(ctx, c, c.stub.GenerateCallbackUrl, request, c.connection.retry)
	if isOwn && errors.Is(err, ReasonRequestIDUnsupported) {
		request.RequestId = ""
		reply, err = invoke(ctx, c, c.stub.GenerateCallbackUrl, request, false)
	}
	if err != nil {
		return nil, err
	}
	made := generatedOf(reply)
	for _, warning := range made.Warnings {
		c.connection.logger.Warn("callback_warning", "case_id", made.CaseID, "text", warning.Text)
	}
	return made, nil
}

// SetResponse replaces attributes of the response of a case that is not closed, and returns the case: each attribute
// that the response has, and each one of reset, which returns to its default. A call that runs or is held is answered
// with the new response, if it is accepted.
//
// Errors: INVALID_REQUEST, [ErrNotFound], CALLBACK_CLOSED, [ErrUnavailable].
func (c *Client) SetResponse(
	ctx context.Context, caseID string, response *Response, reset ...ResponseField,
) (*Callback, error) {
	request := &v1.SetResponseRequest{CallbackCaseId: caseID, Response: responseMessage(response)}
	if request.Response == nil {
		request.Response = &v1.Response{}
	}
	request.UpdateMask = &fieldmaskpb.FieldMask{Paths: givenFields(request.GetResponse())}
	for _, field := range reset {
		request.UpdateMask.Paths = append(request.UpdateMask.Paths, string(field))
	}
	reply, err := invoke(ctx, c, c.stub.SetResponse, request, c.connection.retry)
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
	decision := decisionOf(answer)
	reply, err := invoke(ctx, c, c.stub.AnswerCall, &v1.AnswerCallRequest{
		CallId:   callID,
		Response: decision.GetResponse(),
		Verdict:  decision.GetVerdict(),
		KeepOpen: decision.GetKeepOpen(),
		Close:    decision.GetClose(),
		NoRepeat: decision.GetNoRepeat(),
	}, c.connection.retry)
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
	decision := decisionOf(answer)
	reply, err := invoke(ctx, c, c.stub.ResolveCallback, &v1.ResolveCallbackRequest{
		CallbackCaseId: caseID,
		Response:       decision.GetResponse(),
		Verdict:        decision.GetVerdict(),
		NoRepeat:       decision.GetNoRepeat(),
	}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return callbackOf(reply.GetCallback()), nil
}

// CloseCallback closes a case immediately, in any status, and returns it. Running calls continue, and their callers get a
// response. Closing a closed case has no effect.
func (c *Client) CloseCallback(ctx context.Context, caseID string) (*Callback, error) {
	request := &v1.CloseCallbackRequest{CallbackCaseId: caseID}
	reply, err := invoke(ctx, c, c.stub.CloseCallback, request, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return callbackOf(reply.GetCallback()), nil
}

// ExtendCallback sets the time at which a case expires, later or earlier than before, and returns the case.
//
// Errors: INVALID_REQUEST, [ErrNotFound], CALLBACK_CLOSED, [ErrUnavailable].
func (c *Client) ExtendCallback(ctx context.Context, caseID string, expireTime time.Time) (*Callback, error) {
	request := &v1.ExtendCallbackRequest{CallbackCaseId: caseID, ExpireTime: timestampOf(expireTime)}
	reply, err := invoke(ctx, c, c.stub.ExtendCallback, request, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return callbackOf(reply.GetCallback()), nil
}

// EraseCalls erases the recorded content of all calls of a case permanently, and returns how many calls had content. If
// the client sent the request again after a lost response, the number is that of the last attempt and can be 0.
func (c *Client) EraseCalls(ctx context.Context, caseID string) (int64, error) {
	reply, err := invoke(ctx, c, c.stub.EraseCalls, &v1.EraseCallsRequest{CallbackCaseId: caseID}, c.connection.retry)
	return reply.GetErasedCallCount(), err
}

// GetCallback returns a case.
func (c *Client) GetCallback(ctx context.Context, caseID string) (*Callback, error) {
	reply, err := invoke(ctx, c, c.stub.GetCallback, &v1.GetCallbackRequest{CallbackCaseId: caseID}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return callbackOf(reply.GetCallback()), nil
}

// GetCall returns a recorded call, with its body.
func (c *Client) GetCall(ctx context.Context, callID string) (*RecordedCall, error) {
	reply, err := invoke(ctx, c, c.stub.GetCall, &v1.GetCallRequest{CallId: callID}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return recordedCallOf(reply.GetCall()), nil
}

// ReplayCall runs the handler of a recorded call again in the background, and returns the call in its current state. Its
// Delivery shows the progress. A delivery that waits for its next attempt is attempted now. If the client sent the
// request again after a lost response, the call may be handled twice.
//
// Errors: [ErrNotFound], CALL_NOT_REPLAYABLE, [ErrUnavailable].
func (c *Client) ReplayCall(ctx context.Context, callID string) (*RecordedCall, error) {
	reply, err := invoke(ctx, c, c.stub.ReplayCall, &v1.ReplayCallRequest{CallId: callID}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return recordedCallOf(reply.GetCall()), nil
}

// CallbackQuery selects cases. The zero value selects all of the principal.
type CallbackQuery struct {
	// Status selects cases in this status.
	Status CallbackStatus
	// Activity selects cases of this activity.
	Activity string
	// Labels selects cases that have all of these labels.
	Labels map[string]string
	// Owner selects cases of this owner. Other owners require the role admin.
	Owner string
	// LastCallStatus selects cases whose newest recorded call has this status. No index helps here.
	LastCallStatus CallStatus
	// CreatedAfter selects cases that were created at this time or later.
	CreatedAfter time.Time
	// CreatedBefore selects cases that were created earlier than this time.
	CreatedBefore time.Time
	// PageSize is the number of cases per page. The default is 50, the maximum 1,000.
	PageSize int
	// PageToken is the token of the first page to return. Empty: the first page.
	PageToken string
}

// ListCallbacks returns cases, newest first, without their bodies. It requests pages as needed.
//
//	for found, err := range client.ListCallbacks(ctx, callback.CallbackQuery{Status: callback.CallbackOpen}) {
//		if err != nil {
//			return err
//		}
//		…
//	}
func (c *Client) ListCallbacks(ctx context.Context, query CallbackQuery) iter.Seq2[*Callback, error] {
	return allPages(query.PageToken, func(token string) (*PageOf[*Callback], error) {
		query.PageToken = token
		return c.ListCallbacksPage(ctx, query)
	})
}

// ListCallbacksPage returns one page of ListCallbacks.
func (c *Client) ListCallbacksPage(ctx context.Context, query CallbackQuery) (*PageOf[*Callback], error) {
	reply, err := invoke(ctx, c, c.stub.ListCallbacks, &v1.ListCallbacksRequest{
		PageSize:         pageSize(query.PageSize),
		PageToken:        query.PageToken,
		Status:           numberOf[v1.CallbackStatus](query.Status),
		CallbackActivity: query.Activity,
		Labels:           query.Labels,
		Owner:            query.Owner,
		LastCallStatus:   numberOf[v1.CallStatus](query.LastCallStatus),
		CreatedAfter:     timestampOf(query.CreatedAfter),
		CreatedBefore:    timestampOf(query.CreatedBefore),
	}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return &PageOf[*Callback]{
		Items:         each(reply.GetCallbacks(), callbackOf),
		NextPageToken: reply.GetNextPageToken(),
		SearchedTo:    timeOf(reply.GetSearchedTo()),
	}, nil
}

// CallQuery selects calls. Give either a case, or a filter.
type CallQuery struct {
	// CaseID selects the calls of this case.
	CaseID string
	// Filter selects calls of all cases of an owner.
	Filter CallFilter
	// Owner is the owner of a Filter. Empty: the principal. Other owners require the role admin, or a worker with
	// answers, which must name an owner.
	Owner string
	// Activity is the activity of a Filter. Empty: all.
	Activity string
	// PageSize is the number of calls per page. The default is 50, the maximum 100.
	PageSize int
	// PageToken is the token of the first page to return. Empty: the first page.
	PageToken string
}

// ListCalls returns recorded calls, newest first, without their bodies. It requests pages as needed.
func (c *Client) ListCalls(ctx context.Context, query CallQuery) iter.Seq2[*RecordedCall, error] {
	return allPages(query.PageToken, func(token string) (*PageOf[*RecordedCall], error) {
		query.PageToken = token
		return c.ListCallsPage(ctx, query)
	})
}

// ListCallsPage returns one page of ListCalls.
func (c *Client) ListCallsPage(ctx context.Context, query CallQuery) (*PageOf[*RecordedCall], error) {
	if (query.CaseID == "") == (query.Filter == "") {
		return nil, refusal("a query of calls has either a CaseID or a Filter")
	}
	var reply interface {
		GetCalls() []*v1.Call
		GetNextPageToken() string
	}
	var err error
	if query.CaseID != "" {
		reply, err = invoke(ctx, c, c.stub.ListCalls, &v1.ListCallsRequest{
			CallbackCaseId: query.CaseID, PageSize: pageSize(query.PageSize), PageToken: query.PageToken,
		}, c.connection.retry)
	} else {
		reply, err = invoke(ctx, c, c.stub.ListOwnerCalls, &v1.ListOwnerCallsRequest{
			Filter:           numberOf[v1.CallFilter](query.Filter),
			Owner:            query.Owner,
			CallbackActivity: query.Activity,
			PageSize:         pageSize(query.PageSize),
			PageToken:        query.PageToken,
		}, c.connection.retry)
	}
	if err != nil {
		return nil, err
	}
	return &PageOf[*RecordedCall]{Items: each(reply.GetCalls(), recordedCallOf), NextPageToken: reply.GetNextPageToken()}, nil
}

// ActivityQuery selects activities.
type ActivityQuery struct {
	// Owner is the owner whose open callbacks are counted. Empty: the principal.
	Owner string
	// PageSize is the number of activities per page. The default is 50, the maximum 100.
	PageSize int
	// PageToken is the token of the first page to return. Empty: the first page.
	PageToken string
}

// ListActivities returns the activities that are served, by name, with what waits for each. It requests pages as needed.
func (c *Client) ListActivities(ctx context.Context, query ActivityQuery) iter.Seq2[Activity, error] {
	return allPages(query.PageToken, func(token string) (*PageOf[Activity], error) {
		query.PageToken = token
		return c.ListActivitiesPage(ctx, query)
	})
}

// ListActivitiesPage returns one page of ListActivities.
func (c *Client) ListActivitiesPage(ctx context.Context, query ActivityQuery) (*PageOf[Activity], error) {
	reply, err := invoke(ctx, c, c.operations.ListActivities, &v1.ListActivitiesRequest{
		PageSize: pageSize(query.PageSize), PageToken: query.PageToken, Owner: query.Owner,
	}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return &PageOf[Activity]{Items: each(reply.GetActivities(), activityOf), NextPageToken: reply.GetNextPageToken()}, nil
}

// PauseActivity pauses the deliveries of an activity until ResumeActivity. The reason is for other administrators. It
// requires the role admin.
func (c *Client) PauseActivity(ctx context.Context, activity, reason string) error {
	request := &v1.PauseActivityRequest{CallbackActivity: activity, Reason: reason}
	_, err := invoke(ctx, c, c.operations.PauseActivity, request, c.connection.retry)
	return err
}

// ResumeActivity undoes PauseActivity. It requires the role admin.
func (c *Client) ResumeActivity(ctx context.Context, activity string) error {
	_, err := invoke(ctx, c, c.operations.ResumeActivity, &v1.ResumeActivityRequest{CallbackActivity: activity}, c.connection.retry)
	return err
}

// ListPausedActivities returns the paused activities, sorted by name. It requires the role admin.
func (c *Client) ListPausedActivities(ctx context.Context) ([]PausedActivity, error) {
	reply, err := invoke(ctx, c, c.operations.ListPausedActivities, &v1.ListPausedActivitiesRequest{}, c.connection.retry)
	return each(reply.GetPausedActivities(), pausedActivityOf), err
}

// GetStatistics returns what the servers have done in the last hour, and what waits now. It requires the role admin.
func (c *Client) GetStatistics(ctx context.Context) (*Statistics, error) {
	reply, err := invoke(ctx, c, c.operations.GetStatistics, &v1.GetStatisticsRequest{}, c.connection.retry)
	if err != nil {
		return nil, err
	}
	return statisticsOf(reply), nil
}

// ListFindings returns what the server that responds finds in a check of itself, its store and its targets. It requires
// the role admin.
func (c *Client) ListFindings(ctx context.Context) ([]Finding, error) {
	reply, err := invoke(ctx, c, c.operations.ListFindings, &v1.ListFindingsRequest{}, c.connection.retry)
	return each(reply.GetFindings(), findingOf), err
}

// WaitForCall waits for a call of a case to end, and returns it with its body: the earliest one with a greater Attempt
// than after (0 for the first call). No call is missed between generating the URL and waiting. It waits until the context
// ends, without a limit if the context has none, but fails if the server is away for longer than a request may take.
//
// Errors: CALLBACK_CLOSED (there is no such call, and none can arrive), [context.DeadlineExceeded] and [context.Canceled]
// (the context ended first), [ErrNotFound], [ErrUnavailable].
func (c *Client) WaitForCall(ctx context.Context, caseID string, after int64) (*RecordedCall, error) {
	pauses := pauses{next: 100 * time.Millisecond, longest: time.Second}
	for {
		found, err := c.endedCall(ctx, caseID, after)
		if found != nil || err != nil && !isOfContext(err) {
			return found, err
		}
		if err != nil && ctx.Err() == nil { // of one request, and not of the wait
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
			Code:    codes.FailedPrecondition,
			Message: fmt.Sprintf("the callback %s is closed, so no further call can arrive", caseID),
			Facts:   map[string]string{"close_reason": string(found.CloseReason)},
		}
	}
	return nil, nil
}

// invoke sends a request, again and again while the server is unreachable and time is left.
func invoke[Request, Reply any](
	ctx context.Context, client *Client, method func(context.Context, *Request, ...grpc.CallOption) (*Reply, error),
	request *Request, retry bool,
) (*Reply, error) {
	if ctx == nil {
		return nil, refusal("the context is nil")
	}
	if _, hasDeadline := ctx.Deadline(); !hasDeadline {
		limited, cancel := context.WithTimeout(ctx, client.connection.timeout)
		defer cancel()
		ctx = limited
	}
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
func allPages[Item any](token string, page func(token string) (*PageOf[Item], error)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for token := token; ; {
			items, err := page(token)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items.Items {
				if !yield(item, nil) {
					return
				}
			}
			if token = items.NextPageToken; token == "" {
				return
			}
		}
	}
}

// pageSize returns the size of a page for the server, which refuses a negative one, and reduces one that is too large.
func pageSize(size int) int32 { return int32(min(max(size, -1), math.MaxInt32)) }

// givenFields returns the names of the attributes that a response has.
func givenFields(response *v1.Response) []string {
	given := map[ResponseField]bool{
		FieldType:        response.GetResponseType() != 0,
		FieldRedirectURL: response.ResponseRedirectUrl != nil,
		FieldBody:        response.ResponseBody != nil,
		FieldCode:        response.ResponseCode != nil,
		FieldHeaders:     response.ResponseHeaders != nil,
		FieldHeading:     response.ResponseHeading != nil,
		FieldText:        response.ResponseText != nil,
		FieldLinkLabel:   response.ResponseLinkLabel != nil,
		FieldLinkURL:     response.ResponseLinkUrl != nil,
	}
	var names []string
	for field, isGiven := range given {
		if isGiven {
			names = append(names, string(field))
		}
	}
	return names
}
