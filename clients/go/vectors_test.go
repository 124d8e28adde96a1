package callback

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// vector is what a client makes of headers, a query, a form, or the details of an error. Every language reads the same.
type vector struct {
	Name         string
	Pairs        [][2]string
	First        map[string]string
	All          map[string][]string
	JSON         map[string]any
	QueryString  string `json:"query_string"`
	Body         []byte `json:"body_base64"`
	Text         string `json:"body"`
	End          string
	Repeat       int
	Count        int
	Refused      bool
	ContentTypes []string `json:"content_types"`
	Files        []struct {
		Field, Filename, Content string
		ContentType              string `json:"content_type"`
	}
	Status struct {
		Code, Reason, Message string
		Domain                string
		Metadata              map[string]string
		RetryAfterS           float64 `json:"retry_after_s"`
		Violations            []struct{ Field, Description, Reason string }
	}
	Error struct {
		Code, Reason string
		Facts        map[string]string
		RetryAfterS  float64 `json:"retry_after_s"`
		Violations   []FieldViolation
	}
}

// eachVector runs a test for each vector of a file.
func eachVector(t *testing.T, name string, test func(*testing.T, vector)) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "conformance", "vectors", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(content, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, each := range vectors {
		t.Run(each.Name, func(t *testing.T) { test(t, each) })
	}
}

func (v vector) pairs() []Pair {
	return each(v.Pairs, func(pair [2]string) Pair { return Pair{Name: pair[0], Value: pair[1]} })
}

// expectJSON compares the JSON of a value with that of the vector.
func (v vector) expectJSON(t *testing.T, object map[string]any) {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(text, &decoded); err != nil || !reflect.DeepEqual(decoded, v.JSON) {
		t.Fatalf("%s %v", text, err)
	}
}

func TestHeadersAreThoseOfTheVectors(t *testing.T) {
	eachVector(t, "headers", func(t *testing.T, vector vector) {
		headers := Headers(vector.pairs())
		for name, want := range vector.First {
			if value, has := headers.Lookup(name); value != want || !has || headers.Get(name) != want {
				t.Error(name, value)
			}
		}
		for name, want := range vector.All {
			if values := headers.Values(name); !slices.Equal(values, want) {
				t.Error(name, values)
			}
		}
		vector.expectJSON(t, headers.AsJSON())
		if _, has := headers.Lookup("none"); has || headers.Get("none") != "" {
			t.Error("a header that is not there")
		}
	})
}

func TestQueriesAndFormsAreThoseOfTheVectors(t *testing.T) {
	for _, name := range []string{"query", "form"} {
		eachVector(t, name, func(t *testing.T, vector vector) {
			body := vector.Body
			if name == "query" { // the server parses it, in the same way as a client parses a form
				body = []byte(vector.QueryString)
			}
			request := Call{Body: body}
			form, err := request.Form()
			if err != nil || !slices.Equal(form.Query, vector.pairs()) {
				t.Errorf("%#v %v", []Pair(form.Query), err)
			}
			vector.expectJSON(t, form.AsJSON())
		})
	}
	query := Query{{Name: "a", Value: "1"}, {Name: "A", Value: ""}, {Name: "a", Value: "2"}}
	if value, has := query.Lookup("A"); value != "" || !has || query.Get("a") != "1" || !slices.Equal(query.Values("a"), []string{"1", "2"}) {
		t.Error(query.Values("a"))
	}
}

// octets returns the bytes that the characters of a text stand for.
func octets(text string) []byte {
	var octets []byte
	for _, each := range text {
		octets = append(octets, byte(each))
	}
	return octets
}

func TestFormsWithFilesAreThoseOfTheVectors(t *testing.T) {
	eachVector(t, "multipart", func(t *testing.T, vector vector) {
		body := append(bytes.Repeat(octets(vector.Text), max(vector.Repeat, 1)), octets(vector.End)...)
		request := Call{Body: body}
		for _, each := range vector.ContentTypes {
			request.Headers = append(request.Headers, Pair{Name: "content-type", Value: each})
		}
		form, err := request.Form()
		if refused := (*bodyError)(nil); errors.As(err, &refused) != vector.Refused || (err != nil) != vector.Refused {
			t.Fatal(err)
		}
		if vector.Count > 0 {
			if len(form.Query) != vector.Count {
				t.Error(len(form.Query))
			}
			return
		}
		var files []FormFile
		for _, each := range vector.Files {
			files = append(files, FormFile{each.Field, each.Filename, each.ContentType, octets(each.Content)})
		}
		same := func(one, other FormFile) bool {
			return one.Field == other.Field && one.Filename == other.Filename && one.ContentType == other.ContentType &&
				bytes.Equal(one.Content, other.Content)
		}
		if !slices.Equal(form.Query, vector.pairs()) || !slices.EqualFunc(form.Files, files, same) {
			t.Errorf("%#v %q", []Pair(form.Query), len(form.Files))
			for _, each := range form.Files {
				t.Errorf("%q %q %q %q", each.Field, each.Filename, each.ContentType, each.Content)
			}
		}
	})
}

func TestErrorsAreThoseOfTheVectors(t *testing.T) {
	eachVector(t, "errors", func(t *testing.T, vector vector) {
		given := vector.Status
		refused := status.New(codes.Code(code.Code_value[given.Code]), given.Message)
		var details []protoadapt.MessageV1
		if given.Reason != "" {
			domain := or(given.Domain, errorDomain)
			details = append(details, &errdetails.ErrorInfo{Reason: given.Reason, Domain: domain, Metadata: given.Metadata})
		}
		if given.RetryAfterS > 0 {
			pause := durationpb.New(time.Duration(given.RetryAfterS * float64(time.Second)))
			details = append(details, &errdetails.RetryInfo{RetryDelay: pause})
		}
		if len(given.Violations) > 0 {
			bad := &errdetails.BadRequest{}
			for _, each := range given.Violations {
				bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
					Field: each.Field, Description: each.Description, Reason: each.Reason,
				})
			}
			details = append(details, bad)
		}
		refused, err := refused.WithDetails(details...)
		if err != nil {
			t.Fatal(err)
		}
		result, want := fromRPCError(refused.Err(), "server:1", false), vector.Error
		if code.Code(result.Code).String() != want.Code || string(result.Reason) != want.Reason ||
			result.RetryAfter.Seconds() != want.RetryAfterS || !slices.Equal(result.Violations, want.Violations) ||
			len(result.Facts) != len(want.Facts) {
			t.Errorf("%#v", result)
		}
		for name, fact := range want.Facts {
			if result.Facts[name] != fact {
				t.Error(name, result.Facts)
			}
		}
	})
}
