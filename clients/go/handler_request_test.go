package callback_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"callback.example/callback"
)

const (
	requestID    = "0123456789abcdef0123456789abcdef-0123456789abcdef"
	metadataText = `{"callId": "` + requestID + `", "callbackSystemCase": "0123456789abcdef0123456789abcdef",
		"callbackActivity": "act", "owner": "orders", "attempt": 2, "deadline": "2020-01-01T00:00:00.000Z",
		"timeout": "8.000s", "reason": "CALL", "verified": true, "requestMethod": "put",
		"requestQuery": {"z": "1", "a": ["2", "3"]}, "labels": {"order": "5"}, "ofALaterRelease": {"a": 1}}`
)

var handlerSecret, otherSecret = secretOf("handler"), secretOf("other")

func secretOf(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }

// signedRequest returns the header of a request that the library of Standard Webhooks has signed.
func signedRequest(t *testing.T, secret, body, metadata string, at time.Time) http.Header {
	t.Helper()
	library := got(standardwebhooks.NewWebhook(secret))(t)
	text := base64.RawURLEncoding.EncodeToString([]byte(metadata))
	header := http.Header{}
	for name, value := range map[string]string{
		"webhook-id": requestID, "webhook-timestamp": fmt.Sprint(at.Unix()),
		"webhook-signature":           got(library.Sign(requestID, at, []byte(body)))(t),
		"callback-metadata":           text,
		"callback-metadata-signature": got(library.Sign(requestID+".metadata", at, []byte(text)))(t),
		"content-type":                "text/x", "x-name": "caf\xe9", "traceparent": "00-a-b-01",
	} {
		header.Set(name, value)
	}
	return header
}

func TestASignedRequestHasItsCall(t *testing.T) {
	body := "paid\xff\x00" // not UTF-8
	header := signedRequest(t, handlerSecret, body, metadataText, time.Now())
	call, notification, err := callback.VerifyHandlerRequest(header, []byte(body), otherSecret, handlerSecret+"\n")
	if err != nil || notification != nil {
		t.Fatal(notification, err)
	}
	if call.CallID != requestID || call.Activity != "act" || call.Attempt != 2 || call.Method != "put" {
		t.Error(call.CallID, call.Activity, call.Attempt, call.Method)
	}
	wanted := callback.Query{{Name: "z", Value: "1"}, {Name: "a", Value: "2"}, {Name: "a", Value: "3"}}
	if !slices.Equal(call.Query, wanted) || string(call.Body) != body || call.Labels["order"] != "5" {
		t.Error(call.Query.AsJSON(), call.Body, call.Labels)
	}
	if call.Headers.Get("Content-Type") != "text/x" || call.Headers.Get("x-name") != "caf\u00e9" {
		t.Error(call.Headers.AsJSON())
	}
	if left := time.Until(call.Deadline); left <= 0 || left > 8*time.Second || call.Traceparent != "00-a-b-01" {
		t.Error(left, call.Traceparent)
	}
}

func TestASignedRequestWithAnotherReasonIsANotification(t *testing.T) {
	for reason, wanted := range map[string]callback.CallReason{
		"EXPIRY": callback.OfExpiry, "REMINDER": callback.OfReminder, "OF_A_LATER_RELEASE": callback.CallReasonUnknown,
	} {
		metadata := strings.Replace(metadataText, `"CALL"`, `"`+reason+`"`, 1)
		header := signedRequest(t, handlerSecret, "", metadata, time.Now())
		call, notification, err := callback.VerifyHandlerRequest(header, nil, handlerSecret)
		if err != nil || call != nil || notification.Reason != wanted || notification.CallID != requestID {
			t.Error(reason, call, notification, err)
		}
	}
}

func TestARequestThatIsNotSignedIsRefused(t *testing.T) {
	now := time.Now()
	with := func(name, value string) http.Header {
		header := signedRequest(t, handlerSecret, "paid", metadataText, now)
		header.Set(name, value)
		return header
	}
	swapped := with("x", "")
	swapped.Set("callback-metadata-signature", swapped.Get("webhook-signature"))
	for name, header := range map[string]http.Header{
		"no header":             {},
		"another id":            with("webhook-id", "other"),
		"no signature":          with("webhook-signature", ""),
		"an empty signature":    with("webhook-signature", "v1,"),
		"other metadata":        with("callback-metadata", "e30"),
		"no metadata signature": with("callback-metadata-signature", ""),
		"that of the body":      swapped,
		"no timestamp":          with("webhook-timestamp", ""),
		"no number":             with("webhook-timestamp", "1e9"),
		"another secret":        signedRequest(t, otherSecret, "paid", metadataText, now),
		"another body":          signedRequest(t, handlerSecret, "open", metadataText, now),
		"late":                  signedRequest(t, handlerSecret, "paid", metadataText, now.Add(-310*time.Second)),
		"early":                 signedRequest(t, handlerSecret, "paid", metadataText, now.Add(310*time.Second)),
	} {
		call, notification, err := callback.VerifyHandlerRequest(header, []byte("paid"), handlerSecret)
		if call != nil || notification != nil || !errors.Is(err, callback.ErrUnverifiedRequest) {
			t.Error(name, call, notification, err)
		}
	}
}

func TestASecretThatIsNoneIsAnErrorOfTheProgram(t *testing.T) {
	header := signedRequest(t, handlerSecret, "paid", metadataText, time.Now())
	for _, secrets := range [][]string{nil, {""}, {"hunter2"}, {"whsec_"}, {"whsec_!"}, {"whpk_aHVudGVyMg=="}, {handlerSecret, ""}} {
		_, _, err := callback.VerifyHandlerRequest(header, []byte("paid"), secrets...)
		if err == nil || errors.Is(err, callback.ErrUnverifiedRequest) || strings.Contains(err.Error(), "hunter2") {
			t.Error(secrets, err)
		}
	}
}
