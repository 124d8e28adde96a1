package callback

import (
	"encoding/json"
	"time"
)

// GeneratedCallback is the URL of a new case. The server returns it only once: store it, and treat it as a secret.
type GeneratedCallback struct {
	// URL is the URL for the outside system. Everyone who knows it can make the call.
	URL string `json:"-" xml:"-"`
	// State is the secret in the URL, a UUID, for protocols that send it separately.
	State string `json:"-" xml:"-"`
	// CaseID is the public id of the case. It is not a secret.
	CaseID string
	// ExpireTime is when the case expires. Zero: never.
	ExpireTime time.Time
	// Warnings say what may keep the callback from doing what it is for. The client logs them, too.
	Warnings []Warning
}

// Warning says what may be wrong with a request that was accepted.
type Warning struct {
	Reason WarningReason
	// Text is a sentence that says what may be wrong, and what to do.
	Text string
}

// Prompt is what the page of the guard CONFIRM asks. All of it is shown as text, not HTML.
type Prompt struct {
	// Title is the heading of the page, at most 200 characters.
	Title string
	// Text is the text below the title, at most 2,000 characters.
	Text string
	// Choices are the buttons of the page, at most 4. Without them, the page has one button.
	Choices []Choice
}

// Choice is one button of a prompt.
type Choice struct {
	// Value is what the handler receives.
	Value string
	// Label is the text on the button.
	Label string
}

// Callback is a case: a URL that an outside system can call, and the settings of its calls.
type Callback struct {
	// CaseID is the public id: 32 lower-case hexadecimal digits.
	CaseID string
	// Owner is the principal that generated the case. It is local if no principals are configured.
	Owner  string
	Status CallbackStatus
	// CloseReason is why the case closed. Empty if it is not closed.
	CloseReason CloseReason
	// Activity is the activity that decides on calls.
	Activity string
	// ActivityCase is a text that the handler receives unchanged.
	ActivityCase string
	// StateQueryParameter is the query or form parameter that carries the state. Empty for a /cb/ URL.
	StateQueryParameter string
	// RetryableAfterError says whether a rejected, failed or interrupted call leaves a single-use case open.
	RetryableAfterError bool
	// AllowMultipleCalls says whether the case accepts any number of calls, until it is closed or expires.
	AllowMultipleCalls bool
	// AlternativeDomain is the https:// origin of the URL. Empty for that of the server.
	AlternativeDomain string
	// Response is the response to a call, unless its handler overrides it. Without its body in a list.
	Response *Response
	// Labels are names and values of the owner.
	Labels     map[string]string
	CreateTime time.Time
	// ExpireTime is when the case expires. Zero if it never does.
	ExpireTime time.Time
	// CloseTime is when the case closed. Zero if it is not closed.
	CloseTime time.Time
	// CallCount is the number of calls that started, with any result.
	CallCount int64
	// VerificationProfile is the profile that every request must pass. Empty if there is none.
	VerificationProfile string
	GetGuard            GetGuard
	AnswerMode          AnswerMode
	// AnswerDeadline is the time after which a caller gets Fallback, or without one is told to wait. 0: the default.
	AnswerDeadline time.Duration
	// Fallback is the response at the answer deadline. Nil if there is none. Without its body in a list.
	Fallback *Response
	// Ordered says whether the calls of an ACK case are handled one after the other, in their order.
	Ordered bool
	// ClosedResponse is the response to a request to the closed case. Nil: an error. Not in a list.
	ClosedResponse *Response
	// Prompt is what the page of the guard CONFIRM asks. Nil: whether to continue.
	Prompt *Prompt
	// HoldTime is how long a held call waits for its answer. 0 unless the mode is HOLD.
	HoldTime time.Duration
	// RepeatWindow is how long after the end of a call the same request gets the answer of that call. 0: it is another
	// call.
	RepeatWindow time.Duration
	// NoRepeat says whether no answer is given twice.
	NoRepeat bool
	// Resolved says whether ResolveCallback has given the case its answer.
	Resolved bool
	// RemindAfter are the times after CreateTime at which the handler gets a reminder.
	RemindAfter []time.Duration
	// Notify are the notifications that the handler gets.
	Notify []CallReason
	// Notifications are the reminders that were due, oldest first, and then the expiry. Empty in a list.
	Notifications []*RecordedCall
}

// Request is an HTTP request to a case, as it arrived.
type Request struct {
	// CallID is the id of the call, the same for every attempt to handle it. Use it as the key of work that must not be
	// done twice.
	CallID string
	// CaseID is the id of the case.
	CaseID string
	// Attempt is the number of the call on its case: 1 for the first. For the handler of a delivery (mode ACK, or a
	// replay), it is the number of the attempt to handle this call.
	Attempt int64
	// Method is the HTTP method in lower case.
	Method  string
	Headers Headers
	// Query are the query parameters. On /cbq/ they include the state.
	Query Query
	// QueryString is the query string as it was sent, without the question mark.
	QueryString string `json:"-" xml:"-"`
	// Body is the body, byte for byte.
	Body []byte `json:"-" xml:"-"`
	// ClientAddress is the address of the client. Empty if it is unknown.
	ClientAddress string `json:"-" xml:"-"`
	// VerificationProfile is the verification profile that the request passed. Empty if its sender was not verified.
	VerificationProfile string
	// MessageID is the message id of the sender, as found by the profile. Empty if there is none.
	MessageID string `json:"-" xml:"-"`
	// Choice is the value of the choice that a person made on the page of the callback. Empty if there are no choices.
	Choice string `json:"-" xml:"-"`
}

// Verified returns whether the request passed a verification profile. A profile that only reports lets others through.
func (r *Request) Verified() bool { return r.VerificationProfile != "" }

// JSON parses the body as JSON into a value, as [json.Unmarshal] does.
func (r *Request) JSON(value any) error { return json.Unmarshal(r.Body, value) }

// Form parses the body as the fields of a form (application/x-www-form-urlencoded).
func (r *Request) Form() Query { return parseForm(string(r.Body)) }

// Call is the call that a handler receives: the request, and the settings of its case.
type Call struct {
	Request
	// Activity is the activity of the case.
	Activity string
	// ActivityCase is the text that was given when the case was generated.
	ActivityCase string
	// Response is the response of the case when the call started. The caller gets it unless the handler overrides it.
	Response *Response
	// Labels are the labels of the case.
	Labels map[string]string
	// Deadline is the time after which a decision is too late, by the clock of this machine. The context of the handler
	// does not end by the clock: it ends when the server withdraws the call.
	Deadline time.Time
	// Replayed says whether the owner replayed the call.
	Replayed bool
	// Owner is the principal that generated the case.
	Owner string
	// Traceparent is the W3C trace context of this attempt, as the header traceparent has it: the parent of the handler's
	// own spans. Empty if the call is not traced.
	Traceparent string
}

// Notification is what a handler is told without a call: a reminder is due, or the case has expired.
type Notification struct {
	// Reason is OfReminder or OfExpiry.
	Reason CallReason
	// CallID is the id of the notification, the same for every attempt. Use it as the key of work that must not be done
	// twice.
	CallID string
	// CaseID is the id of the case.
	CaseID string
	// Activity is the activity of the case.
	Activity string
	// ActivityCase is the text that was given when the case was generated.
	ActivityCase string
	// Labels are the labels of the case.
	Labels map[string]string
	// Attempt is the number of the attempt to deliver this notification.
	Attempt int64
	// Deadline is as in [Call].
	Deadline time.Time
	// Replayed says whether the owner replayed the notification.
	Replayed bool
	// Owner is the principal that generated the case.
	Owner string
	// Traceparent is as in [Call].
	Traceparent string
}

// Delivery is the delivery of a call to its handler after the caller got its response, or of a notification.
type Delivery struct {
	Status DeliveryStatus
	// Attempts is the number of attempts in which a handler was asked, including replays and an attempt that runs.
	Attempts int32
	// NextAttemptTime is the earliest time of the next attempt. Zero if the delivery is not pending, or waits for an
	// earlier call of its ordered case.
	NextAttemptTime time.Time
	// Failure is why the last attempt failed. Empty if it did not fail, or was a rejection.
	Failure CallFailure
	// FailureDetail is a sentence about the last attempt that failed.
	FailureDetail string
	// Response is the complete response that the handler decided on, which is not sent. Without its body in a list.
	Response *Response
	// Paused says whether the delivery waits because its activity is paused.
	Paused bool
}

// RecordedCall is a call as it was recorded: its request, its result, and its delivery. With the reason OfReminder or
// OfExpiry it is a notification: it has a delivery, and no request, no result and no status.
type RecordedCall struct {
	Request
	Status CallStatus
	// Reason is OfCall, or the reason of the notification.
	Reason CallReason
	// Failure is why the call failed or did not start. Empty for every other status.
	Failure CallFailure
	// FailureDetail is a sentence about the failure. It is never shown to the caller.
	FailureDetail string
	// BodySize is the size of the body of the request in bytes, even where Body is left out: in a list, or if the
	// operator does not record bodies.
	BodySize int64
	// VerificationFailure is why the request did not pass a verification profile that only reports.
	VerificationFailure string
	// Response is the complete response to the call. Without its body in a list. Nil unless the call succeeded or was
	// rejected.
	Response *Response
	// KeepOpen says whether the handler kept a single-use case open after this success.
	KeepOpen bool
	// Close says whether the handler closed the case with this success, or with the delivery of the call.
	Close bool
	// Erased says whether the recorded content was erased.
	Erased bool
	// StartTime is when the call claimed its case.
	StartTime time.Time
	// EndTime is when the call ended. Zero while it runs.
	EndTime time.Time
	// Delivery is the delivery to the handler after the caller got its response. Nil if there is none.
	Delivery *Delivery
	// FallbackSent says whether the caller gets the fallback of the case. Response is then the later decision.
	FallbackSent bool
	// RepeatCount is the number of requests that were repeats of this call, and got its answer.
	RepeatCount int64
	// CallerGone says whether the caller did not get its response.
	CallerGone bool
	// AnsweredBy is the principal that answered the held call. Empty for every other call.
	AnsweredBy string
}

// Event is a change of a case or a call.
type Event struct {
	Type EventType
	// CaseID is the id of the case.
	CaseID string
	// CallID is the id of the call, or of the notification. Empty for a change of the case.
	CallID string
	// Activity is the activity of the case.
	Activity string
	// Owner is the owner of the case.
	Owner string
	// Time is the time of the change, by the clock of the store.
	Time time.Time
	// CaseStatus is the status of the case after the change.
	CaseStatus CallbackStatus
	// CloseReason is why the case closed. Empty if it is not closed.
	CloseReason CloseReason
	// CallStatus is the status of the call after the change. Empty for a change of the case.
	CallStatus CallStatus
	// DeliveryStatus is the status of the delivery after the change. Empty if the call has none.
	DeliveryStatus DeliveryStatus
	// ResumeToken is the position of the event: a watch from it gets exactly the events after it.
	ResumeToken string
	// Reason is OfCall, or OfReminder or OfExpiry if CallID is that of a notification. Empty for a change of the case.
	Reason CallReason
}

// PageOf is one page of a list.
type PageOf[Item any] struct {
	// Items are the entries, newest first, or by name. A page before the last one may have fewer than requested.
	Items []Item
	// NextPageToken is the token of the next page. Empty on the last page.
	NextPageToken string
	// SearchedTo is how far the search for cases has come: each case that matches and was created after this time is on
	// this page or on one before. Zero on the last page, and of other lists.
	SearchedTo time.Time
}

// Activity says how an activity is served, and what waits for it.
type Activity struct {
	// Name is the name of the activity.
	Name string
	Kind ActivityKind
	// WorkerCount is the number of workers that take its calls, on all servers.
	WorkerCount int32
	// Paused says whether its deliveries are paused.
	Paused bool
	// DeliveryCount is the number of its deliveries that wait or run. Of an ordered case, only the first one counts.
	DeliveryCount int64
	// OpenCallbackCount is the number of the owner's callbacks for it that are not closed.
	OpenCallbackCount int64
	// NotificationWorkerCount is the number of workers that take its notifications, on all servers.
	NotificationWorkerCount int32
}

// IsServed returns whether something takes the calls of the activity.
func (a Activity) IsServed() bool { return a.Kind != KindWorkers || a.WorkerCount > 0 }

// PausedActivity is an activity whose deliveries are paused.
type PausedActivity struct {
	// Name is the name of the activity.
	Name string
	// Principal is the administrator that paused it.
	Principal string
	// Reason is what the administrator gave as the reason.
	Reason string
	// PauseTime is when it was paused, by the clock of the store.
	PauseTime time.Time
}

// Finding is the result of one check of a server.
type Finding struct {
	// Check is the name of the check.
	Check string
	Level FindingLevel
	// Seen is what was seen.
	Seen string
	// Advice is what to do. Empty if there is nothing to do.
	Advice string
}

// Statistics is what the servers have done in the last hour, and what waits now.
type Statistics struct {
	// Minutes are the last 60 minutes, oldest first. The last one has not ended.
	Minutes []MinuteStatistics
	// Stages are the stages of all calls in these minutes.
	Stages []StageDuration
	// Owners are the owners that the server knows, by name.
	Owners []OwnerStatistics
	// Work is what waits in the store now, of all these owners.
	Work WorkStatistics
}

// MinuteStatistics is what all servers have done in one minute.
type MinuteStatistics struct {
	// StartTime is the start of the minute.
	StartTime time.Time
	// Duration is the part of the minute that the counts are of.
	Duration time.Duration
	// Outcomes are the calls that ended.
	Outcomes []OutcomeCount
	// Refusals are the requests that did not become calls, by reason.
	Refusals map[Reason]int64
	// Stages are the stages of the calls.
	Stages []StageDuration
	// Work is what waited in the store in this minute. Nil if no server has looked.
	Work *WorkStatistics
}

// OutcomeCount is a number of calls with the same outcome.
type OutcomeCount struct {
	Status  CallStatus
	Failure CallFailure
	Count   int64
}

// StageDuration is how long a stage of calls took. The quantiles are estimates from buckets.
type StageDuration struct {
	// Stage is claim, verify, handler or finish.
	Stage string
	// Count is how often it ran.
	Count  int64
	Median time.Duration
	P95    time.Duration
	P99    time.Duration
}

// OwnerStatistics is what one owner has in the store.
type OwnerStatistics struct {
	Owner             string
	OpenCallbackCount int64
	WaitingCallCount  int64
	DeadCallCount     int64
}

// WorkStatistics is what waits in the store.
type WorkStatistics struct {
	// OpenCallbackCount is the number of callbacks that are not closed.
	OpenCallbackCount int64
	// WaitingCallCount is the number of held calls that wait for an answer.
	WaitingCallCount int64
	// DeadCallCount is the number of calls and notifications whose delivery is dead, without erased ones.
	DeadCallCount int64
	// DeliveryCount is the number of deliveries that wait or run. Of an ordered case, only the first one counts.
	DeliveryCount int64
	// DeliveryDelay is how long ago the delivery that waits the longest became due.
	DeliveryDelay time.Duration
}
