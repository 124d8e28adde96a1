package callback_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"callback.example/callback"
	"callback.example/callback/callbacktest"
)

// system is a running system for the tests of this package, whose activities are served by a worker (worked), or by
// nothing (unserved). pushed is served by a handler server that a test starts on pushListener.
var (
	system       *callbacktest.System
	pushListener *net.TCPListener
)

// worked decides on the calls of the activity worked: the query says how.
func worked(_ context.Context, call *callback.Call) (callback.Answer, error) {
	switch status := call.Query.Get("status"); status {
	case "paid":
		return callback.Accept(callback.Redirect("https://shop.example/thankyou")), nil
	case "open":
		return callback.Answer{Response: callback.Text("not yet"), KeepOpen: true}, nil
	case "wrong":
		return callback.Reject(callback.Text("wrong").WithCode(400)), nil
	case "echo":
		form, err := call.Form()
		if err != nil {
			return callback.Answer{}, fmt.Errorf("the echo: %w", err)
		}
		response, err := callback.JSON(map[string]any{
			"case": call.ActivityCase, "labels": call.Labels, "form": form.AsJSON(), "query": call.Query.AsJSON(), "method": call.Method,
			"header": call.Headers.Get("X-Name"), "owner": call.Owner, "activity": call.Activity,
		})
		return callback.Accept(response), err
	case "keep":
		return callback.Answer{}, nil
	case "json":
		var order struct{ Order int }
		if err := call.JSON(&order); err != nil {
			return callback.Answer{}, fmt.Errorf("the order: %w", err)
		}
	}
	return callback.Answer{}, errors.New("the bank is closed")
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var handlers callback.Handlers
		handlers.Handle("worked", worked)
		handlers.HandleNotification("worked", func(_ context.Context, notification *callback.Notification) (callback.Answer, error) {
			return callback.Answer{Close: notification.Reason == callback.OfReminder}, nil
		})
		var err error
		if pushListener, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			panic(err)
		}
		system, err = callbacktest.Start(&handlers, callbacktest.WithConfig(fmt.Sprintf(`
			[server]
			platform_url = "https://shop.example"
			[activities.pushed]
			target = "%s"
			`, pushListener.Addr())))
		if err != nil {
			panic(err)
		}
		status := m.Run()
		if err := system.Stop(); err != nil {
			panic(err)
		}
		return status
	}())
}

// generate generates a callback, and fails the test if it cannot.
func generate(t *testing.T, activity string, response *callback.Response, options ...callback.GenerateOption) *callback.GeneratedCallback {
	t.Helper()
	made, err := system.Client.GenerateCallbackURL(t.Context(), activity, response, options...)
	must(t, err)
	return made
}

// reply is what the caller of a URL got.
type reply struct {
	status   int
	location string
	body     string
	header   http.Header
}

func replyOf(response *http.Response, err error) func(t *testing.T) reply {
	return func(t *testing.T) reply {
		t.Helper()
		must(t, err)
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		must(t, err)
		return reply{response.StatusCode, response.Header.Get("Location"), string(body), response.Header}
	}
}

func visit(t *testing.T, url string) reply {
	t.Helper()
	return replyOf(system.HTTP.Get(url))(t)
}

func TestACallIsDecidedByItsHandler(t *testing.T) {
	made := generate(t, "worked", callback.Redirect(""), callback.WithRetryableAfterError(),
		callback.WithLabel("order", "5"), callback.WithActivityCase("case 5"))
	if reply := visit(t, made.URL+"?status=wrong"); reply.status != 400 || reply.body != "wrong" {
		t.Fatal(reply)
	}
	if reply := visit(t, made.URL+"?status=fail"); reply.status != 502 || strings.Contains(reply.body, "bank") {
		t.Fatal(reply)
	}
	if reply := visit(t, made.URL+"?status=open"); reply.status != 200 || reply.body != "not yet" {
		t.Fatal(reply)
	}
	request, err := http.NewRequestWithContext(t.Context(), "PUT", made.URL+"?status=echo&x=1&x=2", strings.NewReader("a=1&b=%C3%A9"))
	must(t, err)
	request.Header.Set("X-Name", "value")
	echo := replyOf(system.HTTP.Do(request))(t)
	want := `{"activity":"worked","case":"case 5","form":{"a":"1","b":"é"},"header":"value","labels":{"order":"5"},` +
		`"method":"put","owner":"local","query":{"status":"echo","x":["1","2"]}}`
	if echo.status != 200 || echo.body != want || echo.header.Get("Content-Type") != "application/json" {
		t.Fatal(echo)
	}
	found := got(system.Client.GetCallback(t.Context(), made.CaseID))(t)
	if found.Status != callback.CallbackClosed || found.CloseReason != callback.ClosedConsumed || found.CallCount != 4 ||
		found.Labels["order"] != "5" || !found.ExpireTime.IsZero() || found.CreateTime.IsZero() || found.Owner != "local" {
		t.Fatalf("%+v", *found)
	}
	var statuses []string
	for call, err := range system.Client.ListCalls(t.Context(), callback.CallQuery{CaseID: made.CaseID, PageSize: 1}) {
		must(t, err)
		statuses = append(statuses, string(call.Status)+string(call.Failure))
	}
	if !slices.Equal(statuses, []string{"SUCCEEDED", "SUCCEEDED", "FAILEDHANDLER_ERROR", "REJECTED"}) {
		t.Fatal(statuses)
	}
	call := got(system.Client.WaitForCall(t.Context(), made.CaseID, 3))(t)
	if string(call.Body) != "a=1&b=%C3%A9" || call.BodySize != 12 || call.Method != "put" || call.Attempt != 4 {
		t.Fatal(call)
	}
}

func TestABodyThatIsNotTheJSONOfTheHandlerIsRejectedWith400(t *testing.T) {
	for _, body := range []string{"order=5", `{"order": "5"}`, ""} {
		made := generate(t, "worked", callback.Text("ok"))
		reply := replyOf(system.HTTP.Post(made.URL+"?status=json", "application/json", strings.NewReader(body)))(t)
		if reply.status != 400 || reply.body != "the body is not the JSON that was expected" {
			t.Fatal(reply)
		}
	}
}

func TestAFormWithFilesIsReadAndWhatIsNoFormIsRejectedWith400(t *testing.T) {
	part := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
	for body, want := range map[string]int{part + "--b--": 200, part: 400} {
		made := generate(t, "worked", callback.Text("ok"))
		kind := "multipart/form-data; boundary=b"
		reply := replyOf(system.HTTP.Post(made.URL+"?status=echo", kind, strings.NewReader(body)))(t)
		if reply.status != want || want == 400 && reply.body != "the body is not a form" ||
			want == 200 && !strings.Contains(reply.body, `"form":{"a":"1"}`) {
			t.Error(reply)
		}
	}
}

func TestOptionsOfAConnectionArePassedOnTogether(t *testing.T) {
	wrong := []callback.ConnectionOption{callback.WithToken("one"), callback.WithToken("not a token")}
	_, client := callback.NewClient("127.0.0.1:1", callback.WithConnection(wrong...))
	_, worker := callback.NewWorker("127.0.0.1:1", &callback.Handlers{}, callback.WithConnection(wrong...))
	if client == nil || worker == nil || client.Error() != worker.Error() || !strings.Contains(client.Error(), "token") {
		t.Fatal(client, worker)
	}
}

func TestARedirectIsThatOfTheHandler(t *testing.T) {
	made := generate(t, "worked", callback.Redirect("/other"))
	if reply := visit(t, made.URL+"?status=paid"); reply.status != 302 || reply.location != "https://shop.example/thankyou" {
		t.Fatal(reply)
	}
	kept := generate(t, "worked", callback.Redirect("/other"))
	if reply := visit(t, kept.URL+"?status=keep"); reply.location != "https://shop.example/other" {
		t.Fatal(reply)
	}
}

func TestAnEarlierResponseIsReplacedAttributeByAttribute(t *testing.T) {
	made := generate(t, "record", callback.Text("thanks").WithCode(201).WithHeader("x-order", "5"), callback.WithMultipleCalls())
	changed := got(system.Client.SetResponse(t.Context(), made.CaseID, &callback.Response{Body: []byte{}}, callback.FieldCode))(t)
	if changed.Response.Code != 0 || len(changed.Response.Body) != 0 ||
		changed.Response.Headers.Get("X-ORDER") != "5" || changed.Response.Type != callback.TypeResponse {
		t.Fatal(changed.Response)
	}
	if reply := visit(t, made.URL); reply.status != 200 || reply.body != "" || reply.header.Get("X-Order") != "5" {
		t.Fatal(reply)
	}
	page := callback.Page("Thank you", "It has arrived.").WithLink("Shop", "/shop")
	must(t, ignore(system.Client.SetResponse(t.Context(), made.CaseID, page)))
	if reply := replyOf(system.Browser.Get(made.URL))(t); !strings.Contains(reply.body, ">Shop</a>") {
		t.Fatal(reply)
	}
	without := &callback.Response{Empty: []callback.ResponseField{callback.FieldText, callback.FieldLinkLabel}}
	must(t, ignore(system.Client.SetResponse(t.Context(), made.CaseID, without)))
	if reply := replyOf(system.Browser.Get(made.URL))(t); strings.Contains(reply.body, "Shop</a>") || strings.Contains(reply.body, "arrived") {
		t.Fatal(reply)
	}
}

func TestEmptyRefusesWhatItCannotDo(t *testing.T) {
	ctx, client := t.Context(), system.Client
	for field, response := range map[callback.ResponseField]*callback.Response{
		callback.FieldText: callback.Page("Thank you", "It has arrived."),
		callback.FieldBody: callback.Text(""),
		"text":             callback.Text(""),
	} {
		response.Empty = []callback.ResponseField{field}
		for request, send := range map[string]func() error{
			"response": func() error { return ignore(client.GenerateCallbackURL(ctx, "record", response)) },
			"fallback": func() error {
				return ignore(client.GenerateCallbackURL(ctx, "record", callback.Text(""), callback.WithFallback(response)))
			},
			"set":     func() error { return ignore(client.SetResponse(ctx, "c", response)) },
			"answer":  func() error { return ignore(client.AnswerCall(ctx, "c", callback.Accept(response))) },
			"resolve": func() error { return ignore(client.ResolveCallback(ctx, "c", callback.Accept(response))) },
		} {
			var refused *callback.Error
			if err := send(); !errors.As(err, &refused) || !strings.Contains(refused.Message, "in Empty") ||
				refused.Violations[0].Field != string(field) {
				t.Error(request, field, err)
			}
		}
	}
}

func TestAHeldCallIsAnsweredByAnotherService(t *testing.T) {
	made := generate(t, "form", callback.Text("thanks"), callback.WithMultipleCalls())
	replies := make(chan reply, 2)
	hold := func() *callback.RecordedCall {
		watch := got(system.Client.WatchCalls(t.Context(), callback.WatchQuery{CaseID: made.CaseID}))(t)
		defer watch.Close()
		go func() { replies <- visit(t, made.URL) }()
		for event, err := range watch.Events() {
			must(t, err)
			if event.Type == callback.EventCallStarted {
				return got(system.Client.GetCall(t.Context(), event.CallID))(t)
			}
		}
		panic("unreachable")
	}
	first := hold()
	waiting := map[string]bool{}
	for call, err := range system.Client.ListOwnerCalls(t.Context(), callback.OwnerCallQuery{Filter: callback.FilterWaiting, Activity: "form"}) {
		must(t, err)
		waiting[call.CallID] = true
	}
	if !waiting[first.CallID] || first.Status != callback.CallRunning {
		t.Fatal(first, waiting)
	}
	answered := got(system.Client.AnswerCall(t.Context(), first.CallID, callback.Accept(callback.Text("approved"))))(t)
	if reply := receive(t, replies); reply.body != "approved" || answered.AnsweredBy != "local" {
		t.Fatal(reply, answered)
	}
	_, err := system.Client.AnswerCall(t.Context(), first.CallID, callback.Reject(nil))
	var refused *callback.Error
	if !errors.Is(err, callback.ReasonCallAnswered) || !errors.As(err, &refused) || refused.CallStatus() != callback.CallSucceeded {
		t.Fatal(err)
	}
	second := hold()
	resolved := got(system.Client.ResolveCallback(t.Context(), made.CaseID, callback.Reject(callback.Text("refused").WithCode(403))))(t)
	if reply := receive(t, replies); reply.status != 403 || !resolved.Resolved || second.CallID == first.CallID {
		t.Fatal(reply, resolved.Resolved)
	}
	if _, err := system.Client.ResolveCallback(t.Context(), made.CaseID, callback.Answer{Close: true}); err == nil {
		t.Fatal("resolved with a close")
	}
}

func TestThreeDaysPassAtOnceInATest(t *testing.T) {
	const day = 24 * time.Hour
	reasons := make(chan callback.CallReason, 2)
	var handlers callback.Handlers
	handlers.Handle("approval", func(context.Context, *callback.Call) (callback.Answer, error) { return callback.Accept(nil), nil })
	handlers.HandleNotification("approval", func(_ context.Context, notification *callback.Notification) (callback.Answer, error) {
		reasons <- notification.Reason
		return callback.Answer{}, nil
	})
	system := callbacktest.New(t, &handlers)
	made := got(system.Client.GenerateCallbackURL(t.Context(), "approval", callback.Text("thanks"), callback.WithTimeToLive(4*day),
		callback.WithRemindAfter(3*day), callback.WithNotify(callback.OfReminder, callback.OfExpiry)))(t)
	must(t, system.Advance(3*day))
	if reason := receive(t, reasons); reason != callback.OfReminder {
		t.Fatal(reason)
	}
	repeated := got(system.Client.GenerateCallbackURL(t.Context(), "approval", callback.Text("thanks"), callback.WithRepeatWindow(day)))(t)
	for _, expected := range []int{200, 200, 410} {
		if reply := replyOf(system.HTTP.Get(repeated.URL))(t); reply.status != expected {
			t.Fatal(reply.status, expected)
		}
		must(t, system.Advance(day/2+time.Millisecond))
	}
	if reason := receive(t, reasons); reason != callback.OfExpiry {
		t.Fatal(reason)
	}
	if found := got(system.Client.GetCallback(t.Context(), made.CaseID))(t); found.CloseReason != callback.ClosedExpired {
		t.Fatal(found.CloseReason)
	}
	if err := system.Advance(0); err == nil {
		t.Fatal("moved by nothing")
	}
}

func TestACallbackIsExtendedAndClosed(t *testing.T) {
	made := generate(t, "record", callback.Text(""))
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	if extended := got(system.Client.ExtendCallback(t.Context(), made.CaseID, later))(t); !extended.ExpireTime.Equal(later) {
		t.Fatal(extended.ExpireTime)
	}
	for range 2 {
		ended := got(system.Client.CloseCallback(t.Context(), made.CaseID))(t)
		if ended.CloseReason != callback.ClosedByOwner || ended.CloseTime.IsZero() {
			t.Fatal(asJSON(t, ended))
		}
	}
	_, err := system.Client.ExtendCallback(t.Context(), made.CaseID, later)
	var refused *callback.Error
	if !errors.As(err, &refused) || refused.CloseReason() != callback.ClosedByOwner {
		t.Fatal(err)
	}
	if _, err := system.Client.WaitForCall(t.Context(), made.CaseID, 0); !errors.Is(err, callback.ReasonCallbackClosed) {
		t.Fatal(err)
	}
}

func TestCallbacksAreListedOverAllPages(t *testing.T) {
	before := time.Now().Add(-time.Minute)
	label := rand.Text()
	var made []string
	for range 3 {
		made = append([]string{generate(t, "record", callback.Text(""), callback.WithLabel("test", label)).CaseID}, made...)
	}
	query := callback.CallbackQuery{
		Labels: map[string]string{"test": label}, Status: callback.CallbackOpen, Activity: "record", PageSize: 1, CreatedAfter: before,
	}
	var listed []string
	for found, err := range system.Client.ListCallbacks(t.Context(), query) {
		must(t, err)
		listed = append(listed, found.CaseID)
	}
	if !slices.Equal(listed, made) {
		t.Fatal(listed, made)
	}
	for range system.Client.ListCallbacks(t.Context(), query) {
		break // a loop may stop
	}
	query.CreatedBefore = before
	for range system.Client.ListCallbacks(t.Context(), query) {
		t.Fatal("created too early")
	}
	query = callback.CallbackQuery{Status: "NONSENSE"}
	for _, err := range system.Client.ListCallbacks(t.Context(), query) {
		if !errors.Is(err, callback.ReasonInvalidRequest) {
			t.Fatal(err)
		}
	}
}

func TestAnAdministratorSeesWhatTheServersDo(t *testing.T) {
	until(t, func() bool { // a worker that has just connected is counted within seconds
		activities := map[string]*callback.Activity{}
		for activity, err := range system.Client.ListActivities(t.Context(), callback.ActivityQuery{PageSize: 1}) {
			must(t, err)
			activities[activity.Name] = activity
		}
		found := activities["worked"]
		return found != nil && found.Kind == callback.KindWorkers && found.WorkerCount == 1 && found.IsServed() && len(activities) > 1
	})
	statistics := got(system.Client.GetStatistics(t.Context()))(t)
	if len(statistics.Minutes) != 60 || len(statistics.Owners) != 1 {
		t.Fatal(len(statistics.Minutes), statistics.Owners)
	}
	found := got(system.Client.ListFindings(t.Context()))(t)
	if len(found.Findings) == 0 || found.Findings[0].Level == "" || found.Findings[0].Check == "" || found.CheckTime.IsZero() {
		t.Fatal(asJSON(t, found))
	}
}

func TestAnErrorHasItsReason(t *testing.T) {
	_, err := system.Client.GetCallback(t.Context(), strings.Repeat("0", 32))
	var reason callback.Reason
	if !errors.Is(err, callback.ErrNotFound) || !errors.Is(err, callback.ReasonCallbackNotFound) ||
		errors.Is(err, callback.ErrUnavailable) || !errors.As(err, &reason) || reason != callback.ReasonCallbackNotFound {
		t.Fatal(err)
	}
	_, err = system.Client.GenerateCallbackURL(t.Context(), "", callback.Text("").WithCode(302))
	var refused *callback.Error
	if !errors.As(err, &refused) || len(refused.Violations) != 2 || refused.Violations[0].Rule == "" ||
		!strings.Contains(err.Error(), "response.response_code: must be 200-299 or 400-599") {
		t.Fatal(err)
	}
	for _, code := range []int64{1<<32 + 200, -1<<32 + 200} { // 200 in 32 bits
		_, err := system.Client.GenerateCallbackURL(t.Context(), "record", callback.Text("").WithCode(int(code)))
		if !errors.Is(err, callback.ReasonInvalidRequest) {
			t.Fatal(code, err)
		}
	}
	id := "order-" + rand.Text()
	first := generate(t, "record", callback.Text(""), callback.WithRequestID(id))
	if again := generate(t, "record", callback.Text(""), callback.WithRequestID(id)); again.URL != first.URL {
		t.Fatal("another URL")
	}
	_, err = system.Client.GenerateCallbackURL(t.Context(), "record", callback.Text("other"), callback.WithRequestID(id))
	if !errors.Is(err, callback.ReasonRequestIDReused) {
		t.Fatal(err)
	}
}

func TestABatchHasAURLOrAnErrorForEachRequestInTheirOrder(t *testing.T) {
	same := callback.WithRequestID("order-" + rand.Text())
	batch := []callback.NewCallback{
		{Activity: "record", Response: callback.Text("first"), Options: []callback.GenerateOption{same}},
		{Activity: "record", Response: callback.Text("").WithCode(302)},
		{Activity: "record", Response: callback.Text("third")},
		{Activity: "record", Response: callback.Text("other"), Options: []callback.GenerateOption{same}},
	}
	results := got(system.Client.GenerateCallbackURLs(t.Context(), batch))(t)
	if !errors.Is(results[1].Err, callback.ReasonInvalidRequest) || !errors.Is(results[3].Err, callback.ReasonRequestIDReused) {
		t.Fatal(results)
	}
	again := got(system.Client.GenerateCallbackURLs(t.Context(), batch[:1]))(t)
	for body, result := range map[string]callback.GenerateResult{"first": results[0], "third": results[2]} {
		must(t, result.Err)
		if reply := visit(t, result.Callback.URL); reply.body != body {
			t.Fatal(body, reply)
		}
	}
	if must(t, again[0].Err); again[0].Callback.URL != results[0].Callback.URL {
		t.Fatal("another URL")
	}
	if _, err := system.Client.GenerateCallbackURLs(t.Context(), nil); !errors.Is(err, callback.ReasonInvalidRequest) {
		t.Fatal(err)
	}
}

func TestAWarningIsReturnedAndLogged(t *testing.T) {
	log := &logLines{}
	client := got(callback.NewClient(system.Target, log.option()))(t)
	defer func() { must(t, client.Close()) }()
	made := got(client.GenerateCallbackURL(t.Context(), "unserved", callback.Text("")))(t)
	if len(made.Warnings) != 1 || made.Warnings[0].Reason != callback.WarningActivityNotServed ||
		!strings.Contains(log.String(), "callback_warning") || strings.Contains(log.String(), made.State) {
		t.Fatal(made.Warnings, log.String())
	}
}

func TestAHandlerServerDecidesOnCalls(t *testing.T) {
	var handlers callback.Handlers
	handlers.Handle("pushed", worked)
	log := &logLines{}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	file := got(pushListener.File())(t)
	defer func() { _ = file.Close() }()
	listener := got(net.FileListener(file))(t) // Serve closes it, and the port stays ours
	go func() { ended <- callback.Serve(ctx, listener, &handlers, log.option()) }()
	made := generate(t, "pushed", callback.Redirect(""), callback.WithRetryableAfterError())
	if reply := visit(t, made.URL+"?status=fail"); reply.status != 502 {
		t.Fatal(reply, log.String())
	}
	if reply := visit(t, made.URL+"?status=paid"); reply.location != "https://shop.example/thankyou" {
		t.Fatal(reply, log.String())
	}
	call := got(system.Client.WaitForCall(t.Context(), made.CaseID, 0))(t)
	if call.FailureDetail == "" || strings.Contains(call.FailureDetail, "bank") || !strings.Contains(log.String(), "the bank is closed") {
		t.Fatal(call.FailureDetail, log.String())
	}
	stop()
	must(t, receive(t, ended))
}

func ignore[Value any](_ Value, err error) error { return err }

func asJSON(t *testing.T, value any) string {
	t.Helper()
	return string(got(json.MarshalIndent(value, "", " "))(t))
}
