package callback

import (
	"encoding/json"
	"slices"
)

// Response is a response to a caller. [Text], [HTML], [JSON], [Redirect] and [Page] make one.
//
// A zero attribute is not given: a new case then uses its default, and [Client.SetResponse] and handlers keep the value
// of the case.
type Response struct {
	// Type is the type. A redirect uses only RedirectURL. A response uses Code, Body and Headers. A page uses Code,
	// Heading, Text and the link.
	Type ResponseType
	// RedirectURL is /path on your platform, or an absolute http(s) URL.
	RedirectURL string `json:"-" xml:"-"`
	// Body is the body, at most 1 MiB. An empty body differs from nil.
	Body []byte `json:"-" xml:"-"`
	// Code is 200–299 or 400–599. The default is 200, or 422 for a rejection.
	Code int
	// Headers replace earlier headers as a whole. An empty list differs from nil.
	Headers Headers
	// Heading is the heading of a page, at most 200 characters: text, not HTML.
	Heading string `json:"-" xml:"-"`
	// Text is the text of a page, at most 2,000 characters: text, not HTML. Line breaks are kept.
	Text string `json:"-" xml:"-"`
	// LinkLabel is the label of the link of a page.
	LinkLabel string `json:"-" xml:"-"`
	// LinkURL is the target of the link of a page, as RedirectURL.
	LinkURL string `json:"-" xml:"-"`
	// Empty names attributes that are empty on purpose, where the case has another value: FieldText, or FieldLinkLabel,
	// which removes the link.
	Empty []ResponseField
}

// ResponseField is an attribute of a response, by its name in the contract.
type ResponseField string

const (
	FieldType        ResponseField = "response_type"
	FieldRedirectURL ResponseField = "response_redirect_url"
	FieldBody        ResponseField = "response_body"
	FieldCode        ResponseField = "response_code"
	FieldHeaders     ResponseField = "response_headers"
	FieldHeading     ResponseField = "response_heading"
	FieldText        ResponseField = "response_text"
	FieldLinkLabel   ResponseField = "response_link_label"
	FieldLinkURL     ResponseField = "response_link_url"
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
