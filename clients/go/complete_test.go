package callback

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "callback.example/callback/v1"
)

// conversion is a function that makes a value of a message, or the other way round.
type conversion struct {
	made    func() any
	convert func(any) any
	omitted []string
}

func convertedBy[From, To any](convert func(*From) *To, omitted ...string) conversion {
	return conversion{func() any { return new(From) }, func(from any) any { return convert(from.(*From)) }, omitted}
}

// SecretValues returns a value of each message, with a secret in each field that is secret by the contract.
func SecretValues(secret string) (values []any) {
	for _, each := range valuesOf {
		message := each.made().(proto.Message)
		filler{secret: secret}.fill(message.ProtoReflect())
		values = append(values, each.convert(message))
	}
	return values
}

// filler puts a value into each field of a message, to any depth but one of each message inside itself.
type filler struct {
	secret   string
	isSecret bool
	inside   []protoreflect.FullName
}

func (f filler) fill(message protoreflect.Message) {
	name := message.Descriptor().FullName()
	if slices.Contains(f.inside, name) {
		return
	}
	f.inside = append(slices.Clip(f.inside), name)
	if stamp, ok := message.Interface().(*timestamppb.Timestamp); ok {
		stamp.Seconds = 1 // zero is a time, too
		return
	}
	fields := message.Descriptor().Fields()
	for index := range fields.Len() {
		field := fields.Get(index)
		in := f
		in.isSecret = f.isSecret && field.Name() != "name" || // the names of headers are shown
			f.secret != "" && secretFields[string(name.Name())+"."+string(field.Name())]
		switch {
		case field.IsMap():
			entries := message.Mutable(field).Map()
			entries.Set(protoreflect.ValueOfString("name").MapKey(), protoreflect.ValueOfString("value"))
		case field.IsList() && field.Message() != nil:
			in.fill(message.Mutable(field).List().AppendMutable().Message())
		case field.IsList():
			message.Mutable(field).List().Append(in.value(field))
		case field.Message() != nil:
			in.fill(message.Mutable(field).Message())
		default:
			message.Set(field, in.value(field))
		}
	}
}

func (f filler) value(field protoreflect.FieldDescriptor) protoreflect.Value {
	text := string(field.Name())
	if f.isSecret {
		text = f.secret
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(2).Number()) // 1 may be what an unset field stands for
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(7)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(7)
	}
	panic(field.Kind())
}

// fillValue puts a value into each field of a value.
func fillValue(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		value.SetString("a")
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int64:
		value.SetInt(1)
	case reflect.Map:
		value.Set(reflect.ValueOf(map[string]string{"name": "value"}))
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fillValue(value.Elem())
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		if value.Type().Elem().Kind() != reflect.Uint8 {
			fillValue(value.Index(0))
		}
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[time.Time]() {
			value.Set(reflect.ValueOf(time.Unix(1, 0)))
			return
		}
		for index := range value.NumField() {
			fillValue(value.Field(index))
		}
	default:
		panic(value.Kind())
	}
}

func TestEachFieldOfAMessageIsInItsValue(t *testing.T) {
	for _, each := range valuesOf {
		whole := each.made().(proto.Message)
		filler{}.fill(whole.ProtoReflect())
		value := each.convert(whole)
		fields := whole.ProtoReflect().Descriptor().Fields()
		for index := range fields.Len() {
			field := fields.Get(index)
			part := proto.Clone(whole)
			part.ProtoReflect().Clear(field)
			isOmitted := slices.Contains(each.omitted, string(field.Name()))
			if reflect.DeepEqual(each.convert(part), value) != isOmitted {
				t.Errorf("%T does not have %s", value, field.FullName())
			}
		}
	}
}

func TestEachFieldOfAMessageIsMadeOfItsValue(t *testing.T) {
	for _, each := range messagesOf {
		value := each.made()
		fillValue(reflect.ValueOf(value).Elem())
		unset(t, each.convert(value).(proto.Message))
	}
	response, prompt := &v1.Response{}, &v1.Prompt{}
	filler{}.fill(response.ProtoReflect())
	filler{}.fill(prompt.ProtoReflect())
	if again := responseMessage(responseOf(response)); !proto.Equal(again, response) {
		t.Error(again)
	}
	if again := promptMessage(promptOf(prompt)); !proto.Equal(again, prompt) {
		t.Error(again)
	}
	if named := givenFields(response); len(named) != response.ProtoReflect().Descriptor().Fields().Len() {
		t.Error(named)
	}
	yes := Answer{Response: Text("x"), Rejected: true, KeepOpen: true, Close: true, NoRepeat: true}
	unset(t, decisionOf(yes))
}

func TestEachFieldOfARequestForAURLHasAnOption(t *testing.T) {
	request := &v1.GenerateCallbackUrlRequest{CallbackActivity: "a", Response: &v1.Response{}}
	for name, option := range optionsOf {
		one := &v1.GenerateCallbackUrlRequest{}
		option.set(one)
		if !one.ProtoReflect().Has(one.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))) {
			t.Error(name)
		}
		option.set(request)
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

func TestEachRPCHasAMethod(t *testing.T) {
	for _, service := range []grpc.ServiceDesc{
		v1.CallbacksService_ServiceDesc, v1.OperationsService_ServiceDesc, v1.AuditService_ServiceDesc,
		v1.ProfilesService_ServiceDesc,
	} {
		names := each(service.Methods, func(method grpc.MethodDesc) string { return method.MethodName })
		names = append(names, each(service.Streams, func(stream grpc.StreamDesc) string { return stream.StreamName })...)
		for _, name := range names {
			if _, has := reflect.TypeFor[*Client]().MethodByName(strings.ReplaceAll(name, "Url", "URL")); !has {
				t.Error(name)
			}
		}
	}
}

func TestAWordThatThisVersionDoesNotKnowIsUnknown(t *testing.T) {
	if word := wordOf[CallStatus](v1.CallStatus(99)); word != CallStatusUnknown {
		t.Error(word)
	}
	if number := numberOf[v1.CallStatus](CallStatusUnknown); number != -1 {
		t.Error(number)
	}
	for reason := range reasonFacts {
		if reason.Code() == codes.Unknown || reason.Title() == "" {
			t.Error(reason)
		}
	}
	if unknown := Reason("LATER"); unknown.Code() != codes.Unknown || unknown.Title() != "" {
		t.Error(unknown.Code(), unknown.Title())
	}
}
