package callback

import (
	"encoding/json"
	"time"

	v1 "callback.example/callback/internal/v1"
)

// Verified returns whether the request passed a verification profile. A profile that only reports lets others through.
func (c *Call) Verified() bool { return c.VerificationProfile != "" }

// JSON parses the body as JSON into a value, as [json.Unmarshal] does.
func (c *Call) JSON(value any) error { return json.Unmarshal(c.Body, value) }

// Form parses the body as the fields of a form (application/x-www-form-urlencoded).
func (c *Call) Form() Query { return parseForm(string(c.Body)) }

// Verified returns whether the request passed a verification profile. A profile that only reports lets others through.
func (c *RecordedCall) Verified() bool { return c.VerificationProfile != "" }

// JSON parses the body as JSON into a value, as [json.Unmarshal] does.
func (c *RecordedCall) JSON(value any) error { return json.Unmarshal(c.Body, value) }

// Form parses the body as the fields of a form (application/x-www-form-urlencoded).
func (c *RecordedCall) Form() Query { return parseForm(string(c.Body)) }

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
