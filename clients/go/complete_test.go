package callback

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "callback.example/callback/internal/v1"
)

// filled returns a message with a value in each field, to any depth but one of each message inside itself.
func filled[Message proto.Message](message Message) Message {
	fill(message.ProtoReflect(), map[protoreflect.FullName]bool{})
	return message
}

func fill(message protoreflect.Message, inside map[protoreflect.FullName]bool) {
	name := message.Descriptor().FullName()
	if inside[name] {
		return
	}
	inside[name] = true
	defer delete(inside, name)
	if stamp, ok := message.Interface().(*timestamppb.Timestamp); ok {
		stamp.Seconds = 1 // zero is a time, too
		return
	}
	fields := message.Descriptor().Fields()
	for index := range fields.Len() {
		field := fields.Get(index)
		switch {
		case field.IsMap():
			entries := message.Mutable(field).Map()
			entries.Set(protoreflect.ValueOfString("name").MapKey(), protoreflect.ValueOfString("value"))
		case field.IsList() && field.Message() != nil:
			fill(message.Mutable(field).List().AppendMutable().Message(), inside)
		case field.IsList():
			message.Mutable(field).List().Append(value(field))
		case field.Message() != nil:
			fill(message.Mutable(field).Message(), inside)
		default:
			message.Set(field, value(field))
		}
	}
}

func value(field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(field.Name()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(field.Name()))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(1).Number())
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(7)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(7)
	}
	panic(field.Kind())
}

// empty returns the paths of the fields of a value that have nothing.
func empty(path string, value reflect.Value) []string {
	if value.IsZero() {
		return []string{path}
	}
	var paths []string
	switch value.Kind() {
	case reflect.Pointer:
		return empty(path, value.Elem())
	case reflect.Slice:
		if value.Len() == 0 {
			return []string{path}
		}
		return empty(path+"[0]", value.Index(0))
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for index := range value.NumField() {
			paths = append(paths, empty(path+"."+value.Type().Field(index).Name, value.Field(index))...)
		}
	}
	return paths
}

// fieldsOf returns the number of fields of a value, with those of Request, which it embeds.
func fieldsOf(kind reflect.Type) int {
	count := kind.NumField()
	if _, embeds := kind.FieldByName("Request"); embeds {
		count += reflect.TypeFor[Request]().NumField() - 1
	}
	return count
}

func TestEachFieldOfTheContractHasAPlaceInTheValues(t *testing.T) {
	var (
		request   = filled(&v1.HandleCallbackRequest{})
		found     = filled(&v1.Callback{})
		call      = filled(&v1.Call{})
		event     = filled(&v1.CallEvent{})
		generated = filled(&v1.GenerateCallbackUrlResponse{})
		activity  = filled(&v1.Activity{})
		paused    = filled(&v1.PausedActivity{})
		finding   = filled(&v1.Finding{})
		delivery  = filled(&v1.Delivery{})
		counted   = filled(&v1.GetStatisticsResponse{})
	)
	for _, each := range []struct {
		value   any
		message proto.Message
		// elsewhere is the number of fields of the message that have no field in the value.
		elsewhere int
	}{
		{*callbackOf(found), found, 0},
		{*recordedCallOf(call), call, 0},
		{eventOf(event), event, 0},
		{*callOf(request, time.Now()), request, 3}, // verified is a method, timeout is in Deadline, reason is that of a call
		{*generatedOf(generated), generated, 0},
		{activityOf(activity), activity, 0},
		{pausedActivityOf(paused), paused, 0},
		{findingOf(finding), finding, 0},
		{*deliveryOf(delivery), delivery, 0},
		{*statisticsOf(counted), counted, 0},
	} {
		for _, path := range empty(fmt.Sprintf("%T", each.value), reflect.ValueOf(each.value)) {
			if !strings.HasSuffix(path, ".Empty") { // only requests have it
				t.Error(path)
			}
		}
		has, want := fieldsOf(reflect.TypeOf(each.value)), each.message.ProtoReflect().Descriptor().Fields().Len()
		if has+each.elsewhere != want {
			t.Errorf("%T has %d fields, and the message %d", each.value, has, want)
		}
	}
	for _, path := range empty("Notification", reflect.ValueOf(notificationOf(request, time.Now()))) {
		t.Error(path)
	}
	response := filled(&v1.Response{})
	if again := responseMessage(responseOf(response)); !proto.Equal(again, response) {
		t.Error(again)
	}
	prompt := filled(&v1.Prompt{})
	if again := promptMessage(*promptOf(prompt)); !proto.Equal(again, prompt) {
		t.Error(again)
	}
	if named := givenFields(response); len(named) != response.ProtoReflect().Descriptor().Fields().Len() {
		t.Error(named)
	}
	yes := Answer{Response: Text("x"), Rejected: true, KeepOpen: true, Close: true, NoRepeat: true}
	unset(t, decisionOf(yes))
}

func TestEachFieldOfARequestForAURLHasAnOption(t *testing.T) {
	request := &v1.GenerateCallbackUrlRequest{CallbackActivity: "a", Response: responseMessage(Text(""))}
	for _, each := range []GenerateOption{
		WithRequestID("a"), WithActivityCase("a"), WithStateQueryParameter("a"), WithRetryableAfterError(), WithMultipleCalls(),
		WithAlternativeDomain("a"), WithTimeToLive(1), WithLabel("a", "b"), WithVerificationProfile("a"),
		WithGetGuard(GuardConfirm), WithPrompt(Prompt{}), WithAnswerMode(ModeAck), WithAnswerDeadline(1),
		WithFallback(Text("")), WithOrdered(), WithHoldTime(1), WithRepeatWindow(0), WithNoRepeat(),
		WithClosedResponse(Text("")), WithRemindAfter(1), WithNotify(OfExpiry),
	} {
		each.set(request)
	}
	unset(t, request)
}

// unset reports each field that a message does not have.
func unset(t *testing.T, message proto.Message) {
	t.Helper()
	fields := message.ProtoReflect().Descriptor().Fields()
	for index := range fields.Len() {
		if !message.ProtoReflect().Has(fields.Get(index)) {
			t.Error(fields.Get(index).FullName())
		}
	}
}

func TestEachWordOfTheContractIsAConstant(t *testing.T) {
	content, err := os.ReadFile("enums.go")
	if err != nil {
		t.Fatal(err)
	}
	for kind, enum := range map[string]protoreflect.Enum{
		"CallbackStatus": v1.CallbackStatus(0), "CloseReason": v1.CloseReason(0), "CallStatus": v1.CallStatus(0),
		"CallFailure": v1.CallFailure(0), "CallReason": v1.CallReason(0), "ResponseType": v1.ResponseType(0),
		"GetGuard": v1.GetGuard(0), "AnswerMode": v1.AnswerMode(0), "DeliveryStatus": v1.DeliveryStatus(0),
		"CallFilter": v1.CallFilter(0), "EventType": v1.CallEventType(0), "ActivityKind": v1.ActivityKind(0),
		"WarningReason": v1.WarningReason(0), "FindingLevel": v1.FindingLevel(0),
	} {
		values := enum.Descriptor().Values()
		for index := range values.Len() {
			word := wordOf[string](enum.Type().New(values.Get(index).Number()))
			if word != "" && !strings.Contains(string(content), fmt.Sprintf(" %s = %q\n", kind, word)) {
				t.Error(kind, word)
			}
		}
	}
	if word := wordOf[CallStatus](v1.CallStatus(99)); word != CallStatusUnknown {
		t.Error(word)
	}
	if number := numberOf[v1.CallStatus](CallStatusUnknown); number != -1 {
		t.Error(number)
	}
}
