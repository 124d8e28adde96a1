// The HTTP handler under test in Go: what tests/support/http_scenarios.py asks of a handler.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"callback.example/callback"
)

func handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	call, _, err := callback.VerifyHandlerRequest(r.Header, body, os.Getenv("SECRET"))
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if call == nil { // a notification
		w.WriteHeader(http.StatusNoContent)
		return
	}
	done := func() {
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "done %d", call.Attempt)
	}
	switch call.ActivityCase {
	case "reject":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, "no")
	case "fail":
		panic(http.ErrAbortHandler)
	case "wait":
		for _, err := os.Stat("released"); err != nil; _, err = os.Stat("released") {
			time.Sleep(20 * time.Millisecond)
		}
		done()
	case "echo":
		w.Header().Set("Content-Type", "application/x-echo")
		w.Header().Set("X-Echo", call.Method+" "+call.Headers.Get("x-value"))
		_, _ = w.Write(call.Body)
	case "redirect":
		w.Header().Set("Location", "https://shop.example/"+call.Query.Get("to"))
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "keep-open":
		w.Header().Set("Callback-Decision", "keep-open")
	case "later":
		if call.Attempt == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		} else {
			done()
		}
	case "large":
		_, _ = w.Write(make([]byte, 1024*1024+1))
	default:
		done()
	}
}

func main() {
	http.HandleFunc("/callback", handle)
	log.Println("listening")
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
