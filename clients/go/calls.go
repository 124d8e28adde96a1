package callback

import (
	"encoding/json"
	"errors"
	"time"

	v1 "callback.example/callback/v1"
)

// Verified returns whether the request passed a verification profile. A profile that only reports lets others through.
func (c *Call) Verified() bool { return c.VerificationProfile != "" }

// JSON parses the body as JSON into a value, as [json.Unmarshal] does. A handler that returns its error, or an error that
// wraps it, rejects the call with a 400: the caller sent incorrect data.
func (c *Call) JSON(value any) error {
	err := json.Unmarshal(c.Body, value)
	if misuse := (*json.InvalidUnmarshalError)(nil); err == nil || errors.As(err, &misuse) {
		return err
	}
	return &bodyError{notJSON, err}
}

const (
	notJSON = "the body is not the JSON that was expected"
	notForm = "the body is not a form"
)

// bodyError says that the body of a call is not what its handler reads. The caller gets the problem, without the cause.
type bodyError struct {
	problem string
	cause   error
}

func (e *bodyError) Error() string { return e.problem + ": " + e.cause.Error() }
func (e *bodyError) Unwrap() error { return e.cause }

// Form parses the body as a form: urlencoded, which it is without a Content-Type too, or multipart. Files stay in memory; they,
// and fields, are as large as the edge lets a body be. A handler that returns its error, or an error that wraps it, rejects
// the call with a 400: the type is that of no form, or a multipart form is not whole, has more than 1,000 parts, or one
// without a name.
func (c *Call) Form() (Form, error) { return readForm(c.Headers, c.Body) }

// Verified returns whether the request passed a verification profile. A profile that only reports lets others through.
func (c *RecordedCall) Verified() bool { return c.VerificationProfile != "" }

// JSON parses the body as JSON into a value, as [json.Unmarshal] does.
func (c *RecordedCall) JSON(value any) error { return json.Unmarshal(c.Body, value) }

// Form parses the body as a form, as that of [Call] does.
func (c *RecordedCall) Form() (Form, error) { return readForm(c.Headers, c.Body) }

// IsServed returns whether something takes the calls of the activity.
func (a Activity) IsServed() bool { return a.Kind != KindWorkers || a.WorkerCount > 0 }

// deadlineOf returns the deadline by the clock of this machine, of a request that has just arrived. Without a timeout, the
// server's own time is all there is.
func deadlineOf(message *v1.HandleCallbackRequest) time.Time {
	if message.GetTimeout() != nil {
		return time.Now().Add(message.GetTimeout().AsDuration())
	}
	return timeOf(message.GetDeadline())
}
