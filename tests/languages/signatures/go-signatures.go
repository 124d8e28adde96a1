// Verifies signatures by the library of Standard Webhooks for Go. See signatures.py.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		values := strings.Split(lines.Text(), "\t")
		webhook, err := standardwebhooks.NewWebhook(values[0])
		if err != nil {
			log.Fatal(err)
		}
		headers := http.Header{}
		for index, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			if value := values[index+1]; value != "" {
				headers.Set(name, value)
			}
		}
		body, err := base64.StdEncoding.DecodeString(values[4])
		if err != nil {
			log.Fatal(err)
		}
		if webhook.Verify(body, headers) == nil {
			fmt.Println("accepted")
		} else {
			fmt.Println("refused")
		}
	}
}
