package callback_test

import (
	"slices"
	"testing"

	"callback.example/callback"
)

func TestHeadersAreOrderedAndTheirNamesAreCaseInsensitive(t *testing.T) {
	headers := callback.Headers{{Name: "X-B", Value: "1"}, {Name: "a", Value: "2"}, {Name: "x-b", Value: "3"}}
	if headers.Get("x-B") != "1" || headers.Get("none") != "" || !slices.Equal(headers.Values("X-b"), []string{"1", "3"}) {
		t.Fatal(headers.Values("X-b"))
	}
	if _, has := headers.Lookup("none"); has {
		t.Fatal("a header that is not there")
	}
	if text := string(got(headers.MarshalJSON())(t)); text != `{"X-B":["1","3"],"a":"2"}` {
		t.Fatal(text)
	}
	if text := string(got(callback.Headers{}.MarshalJSON())(t)); text != "{}" {
		t.Fatal(text)
	}
}

func TestTheNamesOfAQueryAreCaseSensitive(t *testing.T) {
	query := callback.Query{{Name: "a", Value: "1"}, {Name: "A", Value: ""}, {Name: "a", Value: "2"}}
	if value, has := query.Lookup("A"); value != "" || !has || query.Get("a") != "1" || !slices.Equal(query.Values("a"), []string{"1", "2"}) {
		t.Fatal(query.Values("a"))
	}
	if text := string(got(query.MarshalJSON())(t)); text != `{"a":["1","2"],"A":""}` {
		t.Fatal(text)
	}
}

func TestAFormIsParsedAsABrowserDoes(t *testing.T) {
	for body, want := range map[string]callback.Query{
		"":                    nil,
		"a=1&&b=2&a=3":        {{"a", "1"}, {"b", "2"}, {"a", "3"}},
		"a&b=&=c":             {{"a", ""}, {"b", ""}, {"", "c"}},
		"a+b=c+d%2B&e%3d=%26": {{"a b", "c d+"}, {"e=", "&"}},
		"a=b=c":               {{"a", "b=c"}},
		"a=%C3%A9é":           {{"a", "éé"}},
		"a=%zz%4&b=%":         {{"a", "%zz%4"}, {"b", "%"}},
		"a=%E2%82x%ff%ff":     {{"a", "\ufffdx\ufffd\ufffd"}}, // each maximal part of a character once
		"a=\xe2\x82":          {{"a", "\ufffd"}},
		"a=%ED%A0%80":         {{"a", "\ufffd\ufffd\ufffd"}},
		"a=%F0%9F%98":         {{"a", "\ufffd"}},
		"a=%EF%BF%BD":         {{"a", "\ufffd"}},
	} {
		call := callback.Request{Body: []byte(body)}
		if form := call.Form(); !slices.Equal(form, want) {
			t.Errorf("%q: %#v", body, []callback.Pair(form))
		}
	}
}
