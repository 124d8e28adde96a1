package callback

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// Pair is one header field, or one parameter of a query or a form.
type Pair struct {
	Name  string `json:"-" xml:"-"`
	Value string `json:"-" xml:"-"`
}

// Headers are HTTP header fields, in order, with repeated names. Names are case-insensitive. Each byte of a value that
// is not ASCII is one character (ISO-8859-1).
//
// In a [Response], nil means "not given", and an empty list means "no headers".
type Headers []Pair

// Query has query or form parameters, percent-decoded, in order, with repeated names.
type Query []Pair

// Get returns the first value of a name. It is empty if the name does not occur.
func (h Headers) Get(name string) string { value, _ := h.Lookup(name); return value }

// Lookup returns the first value of a name, and whether the name occurs.
func (h Headers) Lookup(name string) (string, bool) { return first(h.values(name)) }

// Values returns every value of a name, in order.
func (h Headers) Values(name string) []string { return slices.Collect(h.values(name)) }

// AsJSON returns the flat form, for encoding/json: the value of each name, or a []string of its values if the name is
// repeated. A name keeps its first spelling.
func (h Headers) AsJSON() map[string]any { return flat(h, strings.ToLower) }

func (h Headers) values(name string) iter.Seq[string] {
	return matching(h, func(each string) bool { return strings.EqualFold(each, name) })
}

// Get returns the first value of a name. It is empty if the name does not occur.
func (q Query) Get(name string) string { value, _ := q.Lookup(name); return value }

// Lookup returns the first value of a name, and whether the name occurs.
func (q Query) Lookup(name string) (string, bool) { return first(q.values(name)) }

// Values returns every value of a name, in order.
func (q Query) Values(name string) []string { return slices.Collect(q.values(name)) }

// AsJSON returns the flat form, for encoding/json: the value of each name, or a []string of its values if the name is
// repeated.
func (q Query) AsJSON() map[string]any { return flat(q, func(name string) string { return name }) }

func (q Query) values(name string) iter.Seq[string] {
	return matching(q, func(each string) bool { return each == name })
}

func matching(pairs []Pair, matches func(name string) bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, pair := range pairs {
			if matches(pair.Name) && !yield(pair.Value) {
				return
			}
		}
	}
}

func first(values iter.Seq[string]) (string, bool) {
	for value := range values {
		return value, true
	}
	return "", false
}

// flat returns the value, or the list of values, of each name.
func flat(pairs []Pair, key func(name string) string) map[string]any {
	spelled := map[string]string{} // by key
	object := map[string]any{}
	for _, pair := range pairs {
		name, known := spelled[key(pair.Name)]
		if !known {
			spelled[key(pair.Name)] = pair.Name
			object[pair.Name] = pair.Value
			continue
		}
		switch value := object[name].(type) {
		case string:
			object[name] = []string{value, pair.Value}
		case []string:
			object[name] = append(value, pair.Value)
		}
	}
	return object
}

// parseForm parses the fields of a form (application/x-www-form-urlencoded). Like a browser, it accepts anything: a "%"
// that begins no escape stays, and bytes that are not UTF-8 become U+FFFD.
func parseForm(body string) Query {
	var fields Query
	for piece := range strings.SplitSeq(validUTF8(body), "&") {
		if piece != "" {
			name, value, _ := strings.Cut(piece, "=")
			fields = append(fields, Pair{Name: unescape(name), Value: unescape(value)})
		}
	}
	return fields
}

func unescape(text string) string {
	text = strings.ReplaceAll(text, "+", " ")
	if !strings.Contains(text, "%") {
		return text
	}
	decoded := make([]byte, 0, len(text))
	for index := 0; index < len(text); index++ {
		if text[index] == '%' && index+2 < len(text) {
			if high, low := hexDigit(text[index+1]), hexDigit(text[index+2]); high >= 0 && low >= 0 {
				decoded = append(decoded, byte(high<<4|low))
				index += 2
				continue
			}
		}
		decoded = append(decoded, text[index])
	}
	return validUTF8(string(decoded))
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(digit byte) int {
	switch {
	case '0' <= digit && digit <= '9':
		return int(digit - '0')
	case 'a' <= digit|0x20 && digit|0x20 <= 'f':
		return int(digit|0x20-'a') + 10
	}
	return -1
}

// validUTF8 replaces what is not UTF-8 by U+FFFD: each maximal part of a character once (Unicode 15, 3.9, D93b).
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var valid strings.Builder
	for len(text) > 0 {
		_, size := utf8.DecodeRuneInString(text)
		if size == 1 && text[0] >= utf8.RuneSelf {
			size = brokenLength(text)
			valid.WriteRune(utf8.RuneError)
		} else {
			valid.WriteString(text[:size])
		}
		text = text[size:]
	}
	return valid.String()
}

// brokenLength returns the length of the broken character at the beginning of a text: as many bytes as could begin one.
func brokenLength(text string) int {
	// A character follows that completes any beginning of two or three bytes, if it is one at all.
	for length := min(3, len(text)); length > 1; length-- {
		for _, last := range []string{"\x80", "\x80\x80"} {
			if character, size := utf8.DecodeRuneInString(text[:length] + last); character != utf8.RuneError && size > length {
				return length
			}
		}
	}
	return 1
}
