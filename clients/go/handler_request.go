package callback

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"google.golang.org/protobuf/encoding/protojson"

	v1 "callback.example/callback/v1"
)

// ErrUnverifiedRequest: a request is not one that a server has signed with these secrets, or an old one. Answer it with a
// 401.
var ErrUnverifiedRequest = errors.New("callback: the request is not signed by a server")

// VerifyHandlerRequest returns the call, or the notification, in a request to an HTTP handler, once the library of Standard
// Webhooks has verified its signatures. The body is that of the request, byte for byte. While a secret (whsec_…) is
// changed, pass both: one of them must have signed.
//
// A notification comes only if the activity says notifications = true; else it is nil. The headers of the call are those of
// the request, in no order: Content-Type, and what request_headers of the activity names, are the caller's.
//
// Response and QueryString of the call are always empty, because the request does not have them. So are Labels and
// MessageID if they do not fit beside the query, which the caller chooses: do not rely on the absence of a label.
//
// The error is [ErrUnverifiedRequest] if the request is not signed, not with these secrets, or more than five minutes old.
// Any other error is one of the program: a secret is not valid.
func VerifyHandlerRequest(header http.Header, body []byte, secrets ...string) (*Call, *Notification, error) {
	libraries, err := verifiersOf(secrets)
	if err != nil {
		return nil, nil, err
	}
	if err := verifySignature(libraries, body, header); err != nil {
		return nil, nil, err
	}
	encoded := header.Get("Callback-Metadata")
	ofMetadata := http.Header{}
	ofMetadata.Set(standardwebhooks.HeaderWebhookID, header.Get(standardwebhooks.HeaderWebhookID)+".metadata")
	ofMetadata.Set(standardwebhooks.HeaderWebhookTimestamp, header.Get(standardwebhooks.HeaderWebhookTimestamp))
	ofMetadata.Set(standardwebhooks.HeaderWebhookSignature, header.Get("Callback-Metadata-Signature"))
	if err := verifySignature(libraries, []byte(encoded), ofMetadata); err != nil {
		return nil, nil, err
	}
	request, err := requestOfMetadata(encoded)
	if err != nil {
		return nil, nil, fmt.Errorf("callback: the metadata cannot be read: %w", err)
	}
	request.Traceparent = header.Get("Traceparent")
	if isNotification(request) {
		notification := notificationOf(request)
		notification.Deadline = deadlineOf(request)
		return nil, notification, nil
	}
	call := callOf(request)
	call.Deadline = deadlineOf(request)
	call.Headers, call.Body = headersOfRequest(header), body
	return call, nil, nil
}

func verifiersOf(secrets []string) ([]*standardwebhooks.Webhook, error) {
	invalid := errors.New("callback: the secret is not one of Standard Webhooks: whsec_ and base64")
	verifiers := make([]*standardwebhooks.Webhook, 0, len(secrets))
	for _, secret := range secrets {
		secret = strings.TrimSpace(secret)
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil || !strings.HasPrefix(secret, "whsec_") {
			return nil, invalid // without the error, which may show a part of the secret
		}
		verifiers = append(verifiers, verifier)
	}
	if len(verifiers) == 0 {
		return nil, errors.New("callback: at least one secret is needed")
	}
	return verifiers, nil
}

// verifySignature returns nil if one of the secrets has signed.
func verifySignature(verifiers []*standardwebhooks.Webhook, signed []byte, header http.Header) error {
	var problem error
	for _, verifier := range verifiers {
		if problem = verifier.Verify(signed, header); problem == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrUnverifiedRequest, problem)
}

// requestOfMetadata reads metadata whose signature is verified. It is in the JSON form of the API.
func requestOfMetadata(encoded string) (*v1.HandleCallbackRequest, error) {
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	var reason string
	if err := json.Unmarshal(fields["reason"], &reason); err != nil {
		return nil, err
	}
	query, err := queryOf(fields["requestQuery"])
	if err != nil {
		return nil, err
	}
	delete(fields, "reason") // the form has no prefixes, and flat queries
	delete(fields, "requestQuery")
	if text, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	request := &v1.HandleCallbackRequest{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, request); err != nil {
		return nil, err
	}
	request.RequestQuery = query
	request.Reason = numberOf[v1.CallReason](CallReason(reason))
	return request, nil
}

// queryOf reads a flat query: the value of each name, or the list of its values. The order of the names is kept.
func queryOf(object json.RawMessage) ([]*v1.QueryParameter, error) {
	if object == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.Token(); err != nil { // the brace
		return nil, err
	}
	var query []*v1.QueryParameter
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var given json.RawMessage
		if err := decoder.Decode(&given); err != nil {
			return nil, err
		}
		values := []string{""}
		if json.Unmarshal(given, &values[0]) != nil {
			if err := json.Unmarshal(given, &values); err != nil {
				return nil, err
			}
		}
		for _, value := range values {
			query = append(query, &v1.QueryParameter{Name: fmt.Sprint(name), Value: value})
		}
	}
	return query, nil
}

func headersOfRequest(header http.Header) Headers {
	var headers Headers
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			runes := make([]rune, len(value))
			for i := range len(value) {
				runes[i] = rune(value[i])
			}
			headers = append(headers, Pair{Name: strings.ToLower(name), Value: string(runes)})
		}
	}
	return headers
}
