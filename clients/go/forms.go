package callback

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"regexp"
	"strings"
)

// Form has the fields of a form, and its files. Its debug output has neither.
type Form struct {
	Query `json:"-" xml:"-"`
	Files []FormFile `json:"-" xml:"-"` // in order; only multipart forms have files
}

// FormFile is a file of a multipart form. All of it is as the caller chose it.
type FormFile struct {
	// Field is the name of the field.
	Field string `json:"-" xml:"-"`
	// Filename is the name that the caller gave the file, without folders and the letter of a drive. It is untrusted: it can
	// be empty, very long, or that of another file, with any ending. Show it, but never store a file under it.
	Filename string `json:"-" xml:"-"`
	// ContentType is what the caller says of the content. Empty if it says nothing.
	ContentType string `json:"-" xml:"-"`
	// Content has the bytes.
	Content []byte `json:"-" xml:"-"`
}

// String counts the bytes.
func (f FormFile) String() string { return fmt.Sprintf("FormFile[%d bytes]", len(f.Content)) }

// Format writes the same as String for every verb: a file may be a secret.
func (f FormFile) Format(state fmt.State, _ rune) { write(state, f) }

// MarshalText returns the same as String. To store the file, take its fields.
func (f FormFile) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// LogValue returns the same as String.
func (f FormFile) LogValue() slog.Value { return slog.StringValue(f.String()) }

const (
	maxParts = 1000  // of a multipart form
	maxHead  = 16384 // bytes of the head of a part
)

var (
	boundaryParameter = regexp.MustCompile(`(?i);[ \t]*boundary=(?:"([ !#-\[\]-~]{0,69}[!#-\[\]-~])"|([!#-:<-\[\]-~]{1,70}))[ \t]*(?:;|$)`)
	boundaryName      = regexp.MustCompile(`(?i)boundary=`)
	partHead          = regexp.MustCompile("^(?:\r\n[0-9A-Za-z!#$%&'*+.^_`|~-]+:[\t -~\\x80-\\xff]*){1,8}$")
	disposition       = regexp.MustCompile(`(?i)^form-data[ \t]*(?:;[ \t]*[\w*-]+=(?:"(?:[^"\\]|\\.)*"|[^ \t";]*)[ \t]*){0,8};?$`)
	parameter         = regexp.MustCompile(`;[ \t]*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t";]*))`)
	escaped           = regexp.MustCompile(`\\(["\\])`)
	drive             = regexp.MustCompile(`^[A-Za-z]:`)
)

// readForm parses the body of a request as a form. What is none is a [bodyError].
func readForm(headers Headers, body []byte) (Form, error) {
	types := headers.Values("content-type")
	kind := strings.Join(types, ", ")
	mediaType, _, _ := strings.Cut(kind, ";")
	switch mediaType = strings.ToLower(strings.Trim(mediaType, " \t")); {
	case len(types) > 1:
	case mediaType == "" || mediaType == "application/x-www-form-urlencoded":
		return Form{Query: parseForm(string(body))}, nil
	case mediaType == "multipart/form-data":
		form, err := readMultipart(kind, body)
		if err != nil {
			return Form{}, &bodyError{notForm, err}
		}
		return form, nil
	}
	return Form{}, &bodyError{notForm, errors.New("its type is that of no form")}
}

func readMultipart(contentType string, body []byte) (Form, error) {
	found := boundaryParameter.FindStringSubmatch(contentType)
	if found == nil || len(boundaryName.FindAllString(contentType, 2)) > 1 {
		return Form{}, errors.New("its type does not have one boundary")
	}
	boundary := found[1] + found[2]
	body, err := strictParts(boundary, body)
	if err != nil {
		return Form{}, err
	}
	var form Form
	for parts := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return form, nil
		}
		if err != nil {
			return Form{}, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return Form{}, err
		}
		if err := form.add(part.Header["Content-Disposition"], part.Header.Get("Content-Type"), content); err != nil {
			return Form{}, err
		}
	}
}

// strictParts returns the parts of a body, from the first boundary to the last, if all parsers read them alike: each has a
// head of single lines, and no line begins like a boundary.
func strictParts(boundary string, body []byte) ([]byte, error) {
	delimiter := []byte("\r\n--" + boundary)
	pieces := bytes.SplitN(append([]byte("\r\n"), body...), delimiter, maxParts+2)
	start := len(pieces[0]) // in the body, which has no line break before it
	end := start
	for _, piece := range pieces[1:] {
		end += len(delimiter)
		if bytes.HasPrefix(piece, []byte("--")) {
			return body[start:end], nil
		}
		head, _, hasContent := bytes.Cut(piece, []byte("\r\n\r\n"))
		if !hasContent || len(head) > maxHead || !partHead.Match(latin1(head)) {
			return nil, errors.New("a part has no head of at most eight lines")
		}
		end += len(piece)
	}
	return nil, errors.New("it does not end with its boundary, or has more than 1,000 parts")
}

// latin1 makes a character of each byte, because patterns match characters.
func latin1(octets []byte) []byte {
	var text []byte
	for _, octet := range octets {
		text = append(text, string(rune(octet))...)
	}
	return text
}

// add adds a part.
func (f *Form) add(dispositions []string, contentType string, content []byte) error {
	if len(dispositions) != 1 || !disposition.MatchString(validUTF8(dispositions[0])) {
		return errors.New("a part has no disposition of a form")
	}
	names, given := map[string]string{}, validUTF8(dispositions[0])
	for _, each := range parameter.FindAllStringSubmatch(given, -1) {
		name := strings.ToLower(each[1])
		if _, twice := names[name]; twice {
			return errors.New("a part has a parameter twice")
		}
		names[name] = escaped.ReplaceAllString(each[2]+each[3], "$1")
	}
	name, named := names["name"]
	filename, isFile := names["filename"]
	switch {
	case !named:
		return errors.New("a part has no name")
	case !isFile:
		f.Query = append(f.Query, Pair{Name: name, Value: validUTF8(string(content))})
	case filename != "" || len(content) > 0: // else an input in which no file was chosen
		filename = drive.ReplaceAllString(filename[strings.LastIndexAny(filename, `/\`)+1:], "")
		if strings.Trim(filename, ".") == "" {
			filename = ""
		}
		f.Files = append(f.Files, FormFile{name, filename, validUTF8(contentType), content})
	}
	return nil
}
