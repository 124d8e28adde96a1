package callback

import (
	"encoding/json"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	v1 "callback.example/callback/v1"
)

// Text returns a response with a text as its body.
func Text(body string) *Response { return &Response{Type: TypeResponse, Body: []byte(body)} }

// HTML returns a response with a page of the type text/html. Escape everything in it that came from outside.
func HTML(page string) *Response {
	return Text(page).WithHeader("content-type", "text/html; charset=utf-8")
}

// JSON returns a response with a JSON body. The error is that of [json.Marshal].
func JSON(value any) (*Response, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return Text(string(body)).WithHeader("content-type", "application/json"), nil
}

// Redirect returns a redirect. With an empty URL, that of the case or of the handler is used.
func Redirect(url string) *Response { return &Response{Type: TypeRedirect, RedirectURL: url} }

// Page returns a page in the style of the operator. A caller that does not prefer HTML gets the same as text.
func Page(heading, text string) *Response {
	return &Response{Type: TypePage, Heading: heading, Text: text}
}

// WithCode returns a copy of the response with another code.
func (r Response) WithCode(code int) *Response {
	r.Code = code
	return &r
}

// WithHeader returns a copy of the response with another header field.
func (r Response) WithHeader(name, value string) *Response {
	r.Headers = append(slices.Clip(r.Headers), Pair{Name: name, Value: value})
	return &r
}

// WithLink returns a copy of a page with a link.
func (r Response) WithLink(label, url string) *Response {
	r.LinkLabel, r.LinkURL = label, url
	return &r
}

// checkEmpty returns the refusal of a response whose Empty names a field that is no text, or a text that has a value.
func (r *Response) checkEmpty() *Error {
	if r == nil {
		return nil
	}
	texts := map[ResponseField]string{
		FieldRedirectURL: r.RedirectURL, FieldHeading: r.Heading, FieldText: r.Text, FieldLinkLabel: r.LinkLabel,
		FieldLinkURL: r.LinkURL, FieldLanguage: r.Language,
	}
	for _, field := range r.Empty {
		switch value, isText := texts[field]; {
		case !isText:
			return invalidField(string(field), "only a text can be in Empty")
		case value != "":
			return invalidField(string(field), "is in Empty, but has a value")
		}
	}
	return nil
}

// Answer is the decision on a call: that of a handler, or that of [Client.AnswerCall] and [Client.ResolveCallback]. The
// zero value accepts the call with the response of the case.
type Answer struct {
	// Response overrides the response of the case, attribute by attribute. Nil keeps it. Of a rejection, only this
	// response is used: nil gives a page or a problem of the edge with the code 422.
	Response *Response
	// Rejected says that incorrect data was sent.
	Rejected bool
	// KeepOpen leaves a single-use case open, so that it can be called again after this success.
	KeepOpen bool
	// Close closes the case with this success, also where it allows multiple calls. Not together with KeepOpen.
	Close bool
	// NoRepeat gives this answer only once: the same request again gets a 410.
	NoRepeat bool
}

// Accept returns the decision to accept a call. A nil response keeps that of the case.
func Accept(response *Response) Answer { return Answer{Response: response} }

// Reject returns the decision to reject a call, because its data is incorrect. A nil response gives a page or a problem
// of the edge with the code 422.
func Reject(response *Response) Answer { return Answer{Response: response, Rejected: true} }

// decided returns a request with the fields that it shares with a decision.
func decided[Request proto.Message](request Request, answer Answer) Request {
	fields := request.ProtoReflect().Descriptor().Fields()
	decisionOf(answer).ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if same := fields.ByName(field.Name()); same != nil {
			request.ProtoReflect().Set(same, value)
		}
		return true
	})
	return request
}

func decisionOf(answer Answer) *v1.HandleCallbackResponse {
	verdict := v1.Verdict_VERDICT_ACCEPTED
	if answer.Rejected {
		verdict = v1.Verdict_VERDICT_REJECTED
	}
	return &v1.HandleCallbackResponse{
		Verdict:  verdict,
		Response: ifSet(answer.Response, responseMessage),
		KeepOpen: answer.KeepOpen,
		Close:    answer.Close,
		NoRepeat: answer.NoRepeat,
	}
}
