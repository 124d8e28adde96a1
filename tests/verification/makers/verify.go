// What the library of PagerDuty accepts: as verify.py.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/PagerDuty/go-pagerduty/webhookv3"
)

func main() {
	var messages []struct {
		Secret, Body, URL string
		Headers           map[string]string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&messages); err != nil {
		panic(err)
	}
	accepted := []bool{}
	for _, sent := range messages {
		request, err := http.NewRequest(http.MethodPost, sent.URL, strings.NewReader(sent.Body))
		if err != nil {
			panic(err)
		}
		for name, value := range sent.Headers {
			request.Header.Set(name, value)
		}
		accepted = append(accepted, webhookv3.VerifySignature(request, sent.Secret) == nil)
	}
	text, _ := json.Marshal(accepted)
	fmt.Println(string(text))
}
