package callback

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
)

// This file has what debug output shows of the hand-written types that can have a secret: a URL, a state, a credential,
// or what a caller sent. The values of the contract do the same, by its fields that are secret:
//
//  1. Format writes the same for every verb of fmt, and MarshalText for every encoding: encoding/json, log/slog and
//     others call them at any depth.
//  2. A masked text cannot be read back: json.Unmarshal refuses it.
//  3. A program that embeds two of the values has the methods of neither, and encodings then add the fields of both to its
//     own. So fields with a secret have the tag "-".
//  4. LogValue gives log/slog the same as attributes. Its receiver is a pointer where a value is passed around as one,
//     because log/slog does not accept the panic of a nil pointer.

// String names the header fields, without their values.
func (h Headers) String() string {
	names := make([]string, len(h))
	for index, pair := range h {
		names[index] = pair.Name
	}
	return "Headers[" + strings.Join(names, " ") + "]"
}

// Format writes the same as String for every verb: a value may be a credential.
func (h Headers) Format(state fmt.State, _ rune) { write(state, h) }

// MarshalText returns the same as String. [Headers.AsJSON] has the values.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// LogValue returns the same as String.
func (h Headers) LogValue() slog.Value { return slog.StringValue(h.String()) }

// String counts the parameters.
func (q Query) String() string { return fmt.Sprintf("Query[%d parameters]", len(q)) }

// Format writes the same as String for every verb: a parameter may be the state of a callback.
func (q Query) Format(state fmt.State, _ rune) { write(state, q) }

// MarshalText returns the same as String. [Query.AsJSON] has the values.
func (q Query) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// LogValue returns the same as String.
func (q Query) LogValue() slog.Value { return slog.StringValue(q.String()) }

// String returns neither the name nor the value.
func (p Pair) String() string { return "Pair[***]" }

// Format writes the same as String for every verb: the value may be a credential.
func (p Pair) Format(state fmt.State, _ rune) { write(state, p) }

// MarshalText returns the same as String. To store the pair, take its fields.
func (p Pair) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// LogValue returns the same as String.
func (p Pair) LogValue() slog.Value { return slog.StringValue(p.String()) }

// String names the target.
func (c *Client) String() string { return "Client[target=" + c.connection.target + "]" }

// Format writes the same as String for every verb: a client has a token.
func (c *Client) Format(state fmt.State, _ rune) { write(state, c) }

// LogValue returns the same as String.
func (c *Client) LogValue() slog.Value {
	if c == nil {
		return slog.Value{}
	}
	return slog.StringValue(c.String())
}

// String names the target.
func (w *Worker) String() string { return "Worker[target=" + w.connection.target + "]" }

// Format writes the same as String for every verb: a worker has a token.
func (w *Worker) Format(state fmt.State, _ rune) { write(state, w) }

// LogValue returns the same as String.
func (w *Worker) LogValue() slog.Value {
	if w == nil {
		return slog.Value{}
	}
	return slog.StringValue(w.String())
}

// present returns the attributes that are not zero.
func present(attributes ...slog.Attr) []slog.Attr {
	return slices.DeleteFunc(attributes, func(attribute slog.Attr) bool {
		return reflect.ValueOf(attribute.Value.Any()).IsZero()
	})
}

// textOf returns attributes as text.
func textOf(kind string, attributes []slog.Attr) string { return kind + fmt.Sprint(attributes) }

func write(state fmt.State, value fmt.Stringer) { _, _ = io.WriteString(state, value.String()) }
