package callback

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "callback.example/callback/v1"
)

// This file converts values of each type. Which fields there are is in the generated files.

// Each enum has the words of the contract without their prefix, and UNKNOWN for one of a later release. Empty means
// that there is none.
const unknown = "UNKNOWN"

// wordOf returns the word for a number of the contract: empty for unspecified, UNKNOWN for one of a later release.
func wordOf[Word ~string, Number protoreflect.Enum](number Number) Word {
	if number.Number() == 0 {
		return ""
	}
	values := number.Descriptor().Values()
	value := values.ByNumber(number.Number())
	if value == nil {
		return unknown
	}
	return Word(strings.TrimPrefix(string(value.Name()), prefixOf(values)))
}

// numberOf returns the number of the contract for a word. The server refuses the number of a word that does not exist.
func numberOf[Number interface {
	~int32
	protoreflect.Enum
}, Word ~string](word Word) Number {
	if word == "" {
		return 0
	}
	values := Number(0).Descriptor().Values()
	value := values.ByName(protoreflect.Name(prefixOf(values) + string(word)))
	if value == nil {
		return -1
	}
	return Number(value.Number())
}

// prefixOf returns what the names of all values of an enum begin with.
func prefixOf(values protoreflect.EnumValueDescriptors) string {
	return strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
}

func or[Word ~string](word, otherwise Word) Word {
	if word == "" {
		return otherwise
	}
	return word
}

// each converts a list. Nil stays nil.
func each[From, To any](items []From, convert func(From) To) []To {
	if items == nil {
		return nil
	}
	converted := make([]To, len(items))
	for index, item := range items {
		converted[index] = convert(item)
	}
	return converted
}

// ifSet converts what is not zero. Otherwise it returns nil.
func ifSet[From comparable, To any](given From, convert func(From) *To) *To {
	var zero From
	if given == zero {
		return nil
	}
	return convert(given)
}

// int32Of returns a number of the contract. The server refuses a number that is out of range: a larger one must not get
// into it by losing its upper bits.
func int32Of(number int) int32 { return int32(min(max(number, math.MinInt32), math.MaxInt32)) }

func timeOf(timestamp *timestamppb.Timestamp) time.Time {
	if timestamp == nil {
		return time.Time{}
	}
	return timestamp.AsTime()
}

func timestampOf(given time.Time) *timestamppb.Timestamp {
	if given.IsZero() {
		return nil
	}
	return timestamppb.New(given)
}

// pairsOf returns the header fields, or the parameters of a query, of a message.
func pairsOf[Message interface {
	GetName() string
	GetValue() string
}](messages []Message) []Pair {
	return each(messages, func(message Message) Pair { return Pair{Name: message.GetName(), Value: message.GetValue()} })
}

func headersOf(message *v1.ResponseHeaders) Headers {
	if message == nil {
		return nil
	}
	return append(Headers{}, pairsOf(message.GetHeaders())...)
}

func headersMessage(headers Headers) *v1.ResponseHeaders {
	if headers == nil {
		return nil
	}
	return &v1.ResponseHeaders{Headers: each(headers, func(pair Pair) *v1.ResponseHeader {
		return &v1.ResponseHeader{Name: pair.Name, Value: pair.Value}
	})}
}

// withEmpty returns a response with texts that are empty on purpose.
func withEmpty(message *v1.Response, fields []ResponseField) *v1.Response {
	reflected := message.ProtoReflect()
	for _, name := range fields {
		field := reflected.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field != nil && field.Kind() == protoreflect.StringKind {
			reflected.Set(field, protoreflect.ValueOfString(""))
		}
	}
	return message
}

// invalidText returns the path of a text of a message that is not UTF-8, which gRPC cannot send. Empty if there is none.
func invalidText(message protoreflect.Message) (path string) {
	isText := func(value any) bool {
		text, ok := value.(string)
		return !ok || utf8.ValidString(text)
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := string(field.Name())
		inside := func(place string, value protoreflect.Value) {
			if message, ok := value.Interface().(protoreflect.Message); ok {
				if deeper := invalidText(message); deeper != "" {
					path = place + "." + deeper
				}
			} else if !isText(value.Interface()) {
				path = place
			}
		}
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				if !isText(key.Interface()) {
					path = name
				} else {
					inside(fmt.Sprintf("%s[%q]", name, key.String()), value)
				}
				return path == ""
			})
		case field.IsList():
			for index := 0; index < value.List().Len() && path == ""; index++ {
				inside(fmt.Sprintf("%s[%d]", name, index), value.List().Get(index))
			}
		default:
			inside(name, value)
		}
		return path == ""
	})
	return path
}
