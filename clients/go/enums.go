package callback

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Each enum has the words of the contract without their prefix, and UNKNOWN for one of a later release. Empty means
// that there is none.
const unknown = "UNKNOWN"

// CallbackStatus is the status of a case.
type CallbackStatus string

const (
	// CallbackOpen: the case accepts calls.
	CallbackOpen CallbackStatus = "OPEN"
	// CallbackInProgress: a call runs on a single-use case. Another call gets a 409.
	CallbackInProgress CallbackStatus = "IN_PROGRESS"
	// CallbackClosed: the case accepts no more calls.
	CallbackClosed CallbackStatus = "CLOSED"
	// CallbackStatusUnknown is a status that this version does not know.
	CallbackStatusUnknown CallbackStatus = unknown
)

// CloseReason is the reason for which a case closed. A closed case never opens again.
type CloseReason string

const (
	// ClosedConsumed: a call on a single-use case succeeded, or a handler closed the case.
	ClosedConsumed CloseReason = "CONSUMED"
	// ClosedFailed: a call on a single-use case that is not retryable was rejected or failed.
	ClosedFailed CloseReason = "FAILED"
	// ClosedInterrupted: the server that ran a call on such a case was lost before the result was recorded.
	ClosedInterrupted CloseReason = "INTERRUPTED"
	// ClosedByOwner: the owner closed the case.
	ClosedByOwner CloseReason = "CLOSED_BY_OWNER"
	// ClosedExpired: the time to live of the case passed.
	ClosedExpired CloseReason = "EXPIRED"
	// CloseReasonUnknown is a reason that this version does not know.
	CloseReasonUnknown CloseReason = unknown
)

// CallStatus is the status of a call.
type CallStatus string

const (
	// CallRunning: the call has claimed the case, and its end is not recorded yet.
	CallRunning CallStatus = "RUNNING"
	// CallSucceeded: the handler accepted the call.
	CallSucceeded CallStatus = "SUCCEEDED"
	// CallRejected: the handler rejected the call because of incorrect data.
	CallRejected CallStatus = "REJECTED"
	// CallFailed: the handler failed, was lost, missed its deadline, or decided on a response that cannot be rendered.
	CallFailed CallStatus = "FAILED"
	// CallInterrupted: no result was recorded in time, because the server process died or lost the store.
	CallInterrupted CallStatus = "INTERRUPTED"
	// CallNotStarted: the handler provably never started. The case is open again.
	CallNotStarted CallStatus = "NOT_STARTED"
	// CallStatusUnknown is a status that this version does not know.
	CallStatusUnknown CallStatus = unknown
)

// CallFailure is the reason for which a call has no decision of its handler.
type CallFailure string

const (
	// FailureHandlerError: the handler returned an error.
	FailureHandlerError CallFailure = "HANDLER_ERROR"
	// FailureHandlerLost: the connection broke after the handler received the call.
	FailureHandlerLost CallFailure = "HANDLER_LOST"
	// FailureDeadlineExceeded: the handler missed its deadline.
	FailureDeadlineExceeded CallFailure = "DEADLINE_EXCEEDED"
	// FailureInvalidResponse: the response that the handler decided on cannot be rendered.
	FailureInvalidResponse CallFailure = "INVALID_RESPONSE"
	// FailureHandlerUnreachable: the handler never started: no connection to it, or no worker accepted the call.
	FailureHandlerUnreachable CallFailure = "HANDLER_UNREACHABLE"
	// FailureNoHandler: no handler of the activity takes notifications.
	FailureNoHandler CallFailure = "NO_HANDLER"
	// FailureTooLarge: no worker that is connected takes a message as large as the call, so the handler never started.
	FailureTooLarge CallFailure = "TOO_LARGE"
	// FailureWorkersLost: two workers lost their streams when they were offered the call, before it began.
	FailureWorkersLost CallFailure = "WORKERS_LOST"
	// CallFailureUnknown is a failure that this version does not know.
	CallFailureUnknown CallFailure = unknown
)

// CallReason is the reason for which a handler is asked. A reminder and an expiry are notifications, without a caller.
type CallReason string

const (
	// OfCall: a request reached the case.
	OfCall CallReason = "CALL"
	// OfReminder: a time of WithRemindAfter has passed, and the case is neither closed nor resolved.
	OfReminder CallReason = "REMINDER"
	// OfExpiry: the case is closed because it expired, and was not resolved before.
	OfExpiry CallReason = "EXPIRY"
	// CallReasonUnknown is a reason that this version does not know.
	CallReasonUnknown CallReason = unknown
)

// ResponseType is the type of a response.
type ResponseType string

const (
	// TypeRedirect redirects to the redirect URL: 302 after GET, 303 after any other method.
	TypeRedirect ResponseType = "REDIRECT"
	// TypeResponse sends the code, body and headers.
	TypeResponse ResponseType = "RESPONSE"
	// TypePage sends the code, and a page in the style of the operator: heading, text and link.
	TypePage ResponseType = "PAGE"
	// ResponseTypeUnknown is a type that this version does not know.
	ResponseTypeUnknown ResponseType = unknown
)

// GetGuard is the treatment of a GET that may not come from a person. POST, PUT, PATCH and DELETE are always calls.
// HEAD, OPTIONS and prefetches never are.
type GetGuard string

const (
	// GuardOff: every GET is a call, except a browser's prefetch. The return from a payment needs this.
	GuardOff GetGuard = "OFF"
	// GuardDetect: a GET from a program that is known to open links is not a call.
	GuardDetect GetGuard = "DETECT"
	// GuardConfirm: a GET shows a page with a button, which makes the call.
	GuardConfirm GetGuard = "CONFIRM"
	// GetGuardUnknown is a guard that this version does not know.
	GetGuardUnknown GetGuard = unknown
)

// AnswerMode is how a call gets its response.
type AnswerMode string

const (
	// ModeHandler: the handler of the activity decides, while the caller waits.
	ModeHandler AnswerMode = "HANDLER"
	// ModeHold: the caller waits until a person or another service answers the call. No handler runs.
	ModeHold AnswerMode = "HOLD"
	// ModeAck: the caller gets the response of the case once the call is stored. The handler runs later, with retries.
	ModeAck AnswerMode = "ACK"
	// AnswerModeUnknown is a mode that this version does not know.
	AnswerModeUnknown AnswerMode = unknown
)

// DeliveryStatus is the status of a delivery.
type DeliveryStatus string

const (
	// DeliveryPending: the delivery waits for its next attempt, for an earlier call of an ordered case, or for its
	// paused activity.
	DeliveryPending DeliveryStatus = "PENDING"
	// DeliveryRunning: the handler runs.
	DeliveryRunning DeliveryStatus = "RUNNING"
	// DeliveryDelivered: the handler accepted.
	DeliveryDelivered DeliveryStatus = "DELIVERED"
	// DeliveryDead: the handler rejected, or every attempt failed. ReplayCall tries again.
	DeliveryDead DeliveryStatus = "DEAD"
	// DeliveryStatusUnknown is a status that this version does not know.
	DeliveryStatusUnknown DeliveryStatus = unknown
)

// CallFilter selects calls of all cases of an owner.
type CallFilter string

const (
	// FilterWaiting selects held calls that wait for an answer.
	FilterWaiting CallFilter = "WAITING"
	// FilterDead selects calls whose delivery is dead, except erased ones, which cannot be replayed.
	FilterDead CallFilter = "DEAD"
)

// EventType is the type of an event of a watch.
type EventType string

const (
	// EventCaseCreated: a URL was generated.
	EventCaseCreated EventType = "CASE_CREATED"
	// EventResponseSet: the response of the case was replaced.
	EventResponseSet EventType = "RESPONSE_SET"
	// EventCaseClosed: the case closed for another reason than the end of a call.
	EventCaseClosed EventType = "CASE_CLOSED"
	// EventCallStarted: a call claimed the case. A held call now waits for its answer. A call that the server itself
	// responds to (the activity record, the mode ACK) has only an event for its end.
	EventCallStarted EventType = "CALL_STARTED"
	// EventCallEnded: a call ended.
	EventCallEnded EventType = "CALL_ENDED"
	// EventDeliveryChanged: a delivery became due, was attempted, or ended.
	EventDeliveryChanged EventType = "DELIVERY_CHANGED"
	// EventCallerGone: the caller of a call did not get its response.
	EventCallerGone EventType = "CALLER_GONE"
	// EventCaseExtended: the time at which the case expires was set.
	EventCaseExtended EventType = "CASE_EXTENDED"
	// EventTypeUnknown is a type that this version does not know. Ignore the event.
	EventTypeUnknown EventType = unknown
)

// ActivityKind is how an activity is served.
type ActivityKind string

const (
	// KindBuiltIn: the server answers (record), or holds the calls for a person (form).
	KindBuiltIn ActivityKind = "BUILT_IN"
	// KindPush: the server sends the calls to the target in its configuration.
	KindPush ActivityKind = "PUSH"
	// KindWorkers: the workers that serve it take the calls. There may be none.
	KindWorkers ActivityKind = "WORKERS"
	// ActivityKindUnknown is a kind that this version does not know.
	ActivityKindUnknown ActivityKind = unknown
)

// WarningReason is the kind of a warning about a request that was accepted.
type WarningReason string

const (
	// WarningActivityNotServed: no worker serves the activity now, and no target is configured for it.
	WarningActivityNotServed WarningReason = "ACTIVITY_NOT_SERVED"
	// WarningNotificationsNotServed: no worker takes the notifications of the activity now, and no target is configured.
	WarningNotificationsNotServed WarningReason = "NOTIFICATIONS_NOT_SERVED"
	// WarningReasonUnknown is a kind that this version does not know.
	WarningReasonUnknown WarningReason = unknown
)

// FindingLevel is the severity of a finding.
type FindingLevel string

const (
	// FindingOK: the check passed.
	FindingOK FindingLevel = "OK"
	// FindingWarning: it works, but needs attention.
	FindingWarning FindingLevel = "WARNING"
	// FindingProblem: it does not work, or breaks a promise.
	FindingProblem FindingLevel = "PROBLEM"
	// FindingLevelUnknown is a level that this version does not know.
	FindingLevelUnknown FindingLevel = unknown
)

// wordOf returns the word for a number of the contract: empty for unspecified, UNKNOWN for one of a later release.
func wordOf[Word ~string](number protoreflect.Enum) Word {
	if number.Number() == 0 {
		return ""
	}
	values := number.Descriptor().Values()
	value := values.ByNumber(number.Number())
	if value == nil {
		return unknown
	}
	return Word(strings.TrimPrefix(string(value.Name()), prefixOf(values)))
}

// numberOf returns the number of the contract for a word. The server refuses the number of a word that does not exist.
func numberOf[Number interface {
	~int32
	protoreflect.Enum
}, Word ~string](word Word) Number {
	if word == "" {
		return 0
	}
	values := Number(0).Descriptor().Values()
	value := values.ByName(protoreflect.Name(prefixOf(values) + string(word)))
	if value == nil {
		return -1
	}
	return Number(value.Number())
}

// prefixOf returns what the names of all values of an enum begin with.
func prefixOf(values protoreflect.EnumValueDescriptors) string {
	return strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
}
