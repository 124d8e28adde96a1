package callback

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason is the reason for which a server refused a request. It is an error, so that it can be compared with one:
//
//	if errors.Is(err, callback.ReasonCallbackClosed) { … }
//
// A server of a later release can send a reason that this package does not know.
type Reason string

// Error returns the reason itself.
func (r Reason) Error() string { return string(r) }

// Code returns the gRPC status that the reason comes with. Unknown: this package does not know the reason.
func (r Reason) Code() codes.Code {
	if fact, isKnown := reasonFacts[r]; isKnown {
		return fact.code
	}
	return codes.Unknown
}

// Title says in a few words what happened, for people. Empty: this package does not know the reason.
func (r Reason) Title() string { return reasonFacts[r].title }

// reasonFact is what the contract says of a reason.
type reasonFact struct {
	code  codes.Code
	title string
}

// Kinds of errors that have several reasons, or none. Compare with errors.Is.
var (
	// ErrNotFound: the case or call does not exist, belongs to another owner, or is no longer kept.
	ErrNotFound = errors.New("callback: not found")
	// ErrUnauthenticated: the request has no valid credentials.
	ErrUnauthenticated = errors.New("callback: unauthenticated")
	// ErrPermissionDenied: the principal lacks a role, or may not use an activity.
	ErrPermissionDenied = errors.New("callback: permission denied")
	// ErrUnavailable: the server or its store did not respond, or not in time. Each request can be sent again:
	// GenerateCallbackURL with the same request id.
	ErrUnavailable = errors.New("callback: unavailable")
	// ErrClosed: the client is closed.
	ErrClosed = errors.New("callback: the client is closed")
)

// Error is the error of every request: the server refused it, or did not respond, or the context ended.
//
//		var refused *callback.Error
//		if errors.As(err, &refused) { … refused.Violations … }
//
//	 1. An error after the context was cancelled has the code Canceled, and is [context.Canceled] and the [context.Cause].
//	 2. An error after the deadline is [context.DeadlineExceeded] and the [context.Cause]. Its code is Unavailable if the
//	    last attempt could not reach the server, or if the server asks for a longer pause than there is time, and otherwise
//	    DeadlineExceeded.
//	 3. An error of a source of tokens ([WithTokenSource]) can be found with errors.Is and errors.As.
type Error struct {
	// Reason is the reason. Empty if the error is neither of a Callback server, nor of a check before the request is sent.
	Reason Reason
	// Code is the gRPC status code.
	Code codes.Code
	// Message is a sentence for people.
	Message string
	// Facts are the metadata of the reason, such as close_reason.
	Facts map[string]string
	// Violations names every invalid field. Empty unless the reason is INVALID_REQUEST.
	Violations []FieldViolation
	// RetryAfter is how long to wait before the same request is sent again. 0 if the server does not say.
	RetryAfter time.Duration
	// causes are what the error is as well.
	causes []error
}

// FieldViolation is one invalid field of a request.
type FieldViolation struct {
	// Field is the path of the field in the contract, such as response.response_redirect_url.
	Field string
	// Description says what is wrong with the value.
	Description string
	// Rule is the stable name of the rule, such as string.max_len. It may be empty.
	Rule string
}

// Error returns the reason and what is wrong.
func (e *Error) Error() string {
	text := e.Message
	if len(e.Violations) > 0 { // they contain everything that the message says
		parts := make([]string, len(e.Violations))
		for index, each := range e.Violations {
			parts[index] = each.Field + ": " + each.Description
		}
		text = strings.Join(parts, "; ")
	}
	kind := string(e.Reason)
	if kind == "" {
		kind = e.Code.String()
	}
	return "callback: " + kind + ": " + text
}

// Is reports whether the error has a [Reason], or is of one of the kinds of this package.
func (e *Error) Is(target error) bool {
	if reason, ok := target.(Reason); ok {
		return reason == e.Reason
	}
	switch target {
	case ErrNotFound:
		return e.Reason == ReasonCallbackNotFound || e.Reason == ReasonCallNotFound
	case ErrUnauthenticated:
		return e.Code == codes.Unauthenticated
	case ErrPermissionDenied:
		return e.Code == codes.PermissionDenied
	case ErrUnavailable:
		return e.Code == codes.Unavailable || e.Code == codes.DeadlineExceeded
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	}
	return false
}

// Unwrap returns what the error is as well: the end of the context and its cause, [ErrClosed], or the error of a source
// of tokens.
func (e *Error) Unwrap() []error { return e.causes }

// As gives the [Reason] of the error, if it has one.
func (e *Error) As(target any) bool {
	reason, ok := target.(*Reason)
	if ok && e.Reason != "" {
		*reason = e.Reason
		return true
	}
	return false
}

// GRPCStatus returns the error as a status of gRPC.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Error()) }

// CloseReason returns why the case closed, of an error with the reason CALLBACK_CLOSED. Otherwise it is empty.
func (e *Error) CloseReason() CloseReason { return CloseReason(e.Facts["close_reason"]) }

// CallStatus returns the status of the call, of an error with the reason CALL_ANSWERED. Otherwise it is empty.
func (e *Error) CallStatus() CallStatus { return CallStatus(e.Facts["status"]) }

// Role returns the missing role, of an error with the reason ROLE_MISSING. Otherwise it is empty.
func (e *Error) Role() string { return e.Facts["role"] }

// Limit returns the quota of open cases, of an error with the reason TOO_MANY_OPEN_CALLBACKS. Otherwise it is 0.
func (e *Error) Limit() int {
	limit, _ := strconv.Atoi(e.Facts["limit"])
	return limit
}

// errorDomain is the domain of the ErrorInfo of a Callback server.
const errorDomain = "callback"

// fromRPCError returns the error of this package for an error of gRPC.
func fromRPCError(err error, target string, encrypted bool) *Error {
	refused := status.Convert(err)
	result := &Error{Code: refused.Code(), Message: refused.Message()}
	isOurs := false
	for _, detail := range refused.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if isOurs = detail.GetDomain() == errorDomain; isOurs {
				result.Reason, result.Facts = Reason(detail.GetReason()), detail.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, each := range detail.GetFieldViolations() {
				result.Violations = append(result.Violations,
					FieldViolation{Field: each.GetField(), Description: each.GetDescription(), Rule: each.GetReason()})
			}
		case *errdetails.RetryInfo:
			result.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	if !isOurs {
		result.Message = foreignMessage(result.Code, result.Message, target, encrypted)
	}
	return result
}

// foreignMessage describes a failure of gRPC, of the network, or of another program at the target.
func foreignMessage(code codes.Code, message, target string, encrypted bool) string {
	switch code {
	case codes.Unavailable:
		return fmt.Sprintf("cannot reach %s: %s%s", target, message, adviceOn(message, encrypted))
	case codes.DeadlineExceeded:
		return target + " did not respond in time"
	case codes.Unimplemented:
		return fmt.Sprintf("%s is not a Callback server of a compatible version: %s", target, message)
	}
	return target + ": " + message
}

// advice is what to change, by a part of a message of gRPC.
var advice = []struct{ part, text string }{
	{"HTTP/1.1 header", "the port is one of HTTP/1.1, such as that of the edge or the console: use the gRPC port of the server"},
	{"does not look like a TLS handshake", "the server does not use TLS: connect without it"},
	{"error reading server preface", adviceForPlainText},
}

// adviceForPlainText is what a client that uses TLS cannot change.
const adviceForPlainText = "a server that uses TLS closes a connection without it: if this one does, connect with TLS"

// adviceOn returns what to change, if a message of gRPC says that the target speaks something else.
func adviceOn(message string, encrypted bool) string {
	for _, each := range advice {
		if strings.Contains(message, each.part) && !(encrypted && each.text == adviceForPlainText) {
			return " (" + each.text + ")"
		}
	}
	return ""
}

// endedBy returns the error of an action whose last attempt failed, if its context has ended meanwhile. A refusal stays
// what it is.
func (e *Error) endedBy(ctx context.Context, action string) *Error {
	ended, cause := ctx.Err(), context.Cause(ctx)
	if ended == nil || e.Code != codes.Unavailable && e.Code != codes.Canceled && e.Code != codes.DeadlineExceeded {
		return e
	}
	result, detail := *e, ""
	result.causes = []error{ended}
	if cause != ended {
		result.causes, detail = append(result.causes, cause), ": "+cause.Error()
	}
	switch {
	case !errors.Is(ended, context.DeadlineExceeded):
		result = Error{Code: codes.Canceled, Message: "the context of " + action + " was cancelled" + detail, causes: result.causes}
		if e.Code == codes.Unavailable {
			result.Message += "; before that, " + e.Message
		}
	case e.Code == codes.Unavailable:
		result.Message += "; there was no time to try again" + detail
	default:
		result.Code = codes.DeadlineExceeded
		result.Message += detail
	}
	return &result
}

// isOfContext returns whether a request ended because its time was over, or its context was cancelled.
func isOfContext(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && (refused.Code == codes.DeadlineExceeded || refused.Code == codes.Canceled)
}

// refusal returns the error of a request that is not sent because it cannot be valid.
func refusal(message string) *Error {
	return &Error{Reason: ReasonInvalidRequest, Code: ReasonInvalidRequest.Code(), Message: message}
}

// invalidField returns the error of a request that is not sent because one of its fields cannot be valid.
func invalidField(field, description string) *Error {
	refused := refusal(field + ": " + description)
	refused.Violations = []FieldViolation{{Field: field, Description: description}}
	return refused
}

// isRetryable returns whether the same request may succeed in a moment: the server or its store was unreachable.
func (e *Error) isRetryable() bool { return e.Code == codes.Unavailable }

// canResumeWatch returns whether a watch that ended with this error can continue from its position.
func (e *Error) canResumeWatch() bool { return e.isRetryable() || e.Reason == ReasonWatcherTooSlow }

// isFinalRefusal returns whether a worker that is refused with this error at its start has to be changed first.
func (e *Error) isFinalRefusal() bool {
	switch e.Code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return true
	}
	return false
}
