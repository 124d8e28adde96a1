package callback_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"callback.example/callback"
)

// secret is in every place of a value that can have one.
const secret = "5ecret"

func secretCall() *callback.Call {
	return &callback.Call{
		Activity: "order-paid", CallID: "call-1", CaseID: "case-1", Attempt: 1, Method: "post",
		Headers:     callback.Headers{{Name: "x-key", Value: secret}, {Name: "x-key", Value: secret}},
		Query:       callback.Query{{Name: "state", Value: secret}, {Name: secret, Value: "1"}},
		QueryString: "state=" + secret, Body: []byte("field=" + secret),
		ClientAddress: secret, MessageID: secret, Choice: secret, Response: secretResponse(),
	}
}

func secretResponse() *callback.Response {
	return &callback.Response{
		Type: callback.TypePage, Body: []byte(secret), Code: 201, Headers: callback.Headers{{Name: "x-key", Value: secret}},
		RedirectURL: "/" + secret, Heading: secret, Text: secret, LinkLabel: secret, LinkURL: "/" + secret,
	}
}

// secretValues are all values of the package that can have a secret.
func secretValues(t *testing.T) []any {
	t.Helper()
	made := &callback.GeneratedCallback{URL: "https://box.example/cb/" + secret, State: secret, CaseID: "case-1"}
	call, response := secretCall(), secretResponse()
	file := callback.FormFile{Field: secret, Filename: secret, ContentType: secret, Content: []byte(secret)}
	client := got(callback.NewClient("127.0.0.1:1", callback.WithToken(secret)))(t)
	t.Cleanup(func() { must(t, client.Close()) })
	var handlers callback.Handlers
	handlers.Handle("order-paid", accepting)
	worker := got(callback.NewWorker("127.0.0.1:1", &handlers, callback.WithToken(secret)))(t)
	values := []any{
		made, *made, call, *call, response, *response, callback.Accept(response), call.Headers, call.Query, got(call.Form())(t),
		callback.Form{Files: []callback.FormFile{file}}, file,
		call.Headers[0], &call.Query[0], []callback.Pair(call.Query), client, worker, callback.WithToken(secret),
	}
	for _, each := range callback.SecretValues(secret) {
		values = append(values, each, reflect.ValueOf(each).Elem().Interface())
	}
	return values
}

// embedded are values of a program that embeds values of the package.
func embedded() []any {
	type withCall struct {
		callback.Call
		Note string
	}
	type withPointers struct {
		*callback.Call
		Note string
	}
	type withBoth struct {
		callback.Call
		callback.Response
		callback.GeneratedCallback
	}
	call, response := secretCall(), secretResponse()
	made := callback.GeneratedCallback{URL: secret, State: secret}
	return []any{
		withCall{*call, "a"}, &withCall{*call, "a"}, withPointers{call, "a"}, withBoth{*call, *response, made},
	}
}

// shown returns everything that debug output shows of a value.
func shown(value any) string {
	text := fmt.Sprint(value)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"} {
		text += fmt.Sprintf(verb+"\n", value)
	}
	asJSON, _ := json.Marshal(value)
	asXML, _ := xml.Marshal(value)
	lines := &logLines{}
	for _, handler := range []slog.Handler{slog.NewTextHandler(lines, nil), slog.NewJSONHandler(lines, nil)} {
		logger := slog.New(handler)
		logger.Info("value", "value", value)
		logger.With("value", value).WithGroup("group").Info("value", slog.Group("inner", "value", value))
	}
	return strings.ToLower(text + string(asJSON) + string(asXML) + lines.String())
}

func TestNoSecretIsInDebugOutput(t *testing.T) {
	secrets := []string{
		secret, fmt.Sprintf("%x", secret), "nwvjcmv0" /* base64, in lower case */, strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
	}
	for _, value := range append(secretValues(t), embedded()...) {
		field := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Field", Type: reflect.TypeOf(value)}})).Elem()
		field.Field(0).Set(reflect.ValueOf(value))
		list := reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(value)), 1, 1)
		list.Index(0).Set(reflect.ValueOf(value))
		for _, each := range []any{
			value, []any{value}, map[string]any{"key": value}, struct{ Field any }{value}, field.Interface(), list.Interface(),
			map[string]any{"key": []any{struct{ Field any }{value}}},
		} {
			text := shown(each)
			for _, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s is in the output of %T with %T: %s", secret, each, value, text)
				}
			}
		}
	}
}

func TestDebugOutputSaysWhichValueItIs(t *testing.T) {
	call := secretCall()
	recorded := callback.RecordedCall{CallID: "call-1", Status: callback.CallFailed, Failure: callback.FailureHandlerLost}
	for _, each := range []struct {
		value any
		want  string
	}{
		{callback.GeneratedCallback{CaseID: "case-1"}, "GeneratedCallback[case_id=case-1]"},
		{call, "Call[call_id=call-1 case_id=case-1 activity=order-paid attempt=1 method=post body_bytes=12]"},
		{recorded, "RecordedCall[call_id=call-1 status=FAILED failure=HANDLER_LOST]"},
		{secretResponse(), "Response[type=PAGE body_bytes=6 code=201]"},
		{call.Headers, "Headers[x-key x-key]"},
		{call.Query, "Query[2 parameters]"},
		{call.Query[0], "Pair[***]"},
	} {
		text := string(got(json.Marshal(each.value))(t))
		if fmt.Sprint(each.value) != each.want || fmt.Sprintf("%#v", each.value) != each.want || text != `"`+each.want+`"` {
			t.Errorf("%v %s", each.value, text)
		}
		again := reflect.New(reflect.TypeOf(each.value))
		if json.Unmarshal([]byte(text), again.Interface()) == nil { // half a value would be worse than none
			t.Errorf("%T was read from its masked text", each.value)
		}
	}
	lines := &logLines{}
	slog.New(slog.NewJSONHandler(lines, nil)).Info("x", "call", call, "query", call.Query)
	if log := lines.String(); !strings.Contains(log, `"call":{"call_id":"call-1","case_id":"case-1",`) ||
		!strings.Contains(log, `"query":"Query[2 parameters]"`) {
		t.Error(log)
	}
}

func TestDebugOutputAcceptsWhatIsNotThere(t *testing.T) {
	for _, value := range []any{
		(*callback.GeneratedCallback)(nil), (*callback.Call)(nil), (*callback.RecordedCall)(nil),
		(*callback.Response)(nil), (*callback.Client)(nil), (*callback.Worker)(nil), callback.Headers(nil), callback.Query(nil),
		callback.Answer{}, &callback.Callback{},
	} {
		if text := shown(value); strings.Contains(text, "panic") {
			t.Errorf("%T: %s", value, text)
		}
	}
}
