// Command mixed generates URLs and watches, for the mixed run of the clients: test_mixed_run.py.
//
// Each line of its standard input is a request for a URL: a JSON object. It prints a line of JSON for each URL, and for
// each event of the watch, which are steps of the history of a proof. It exits at the end of its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"callback.example/callback"
)

// request is one line of standard input.
type request struct {
	Number   int    `json:"number"`
	Mode     string `json:"mode"`
	Activity string `json:"activity"`
}

// options has the options of a case by its mode, which are those of callback_prove.modes.
var options = map[string][]callback.GenerateOption{
	"single":    nil,
	"retryable": {callback.WithRetryableAfterError()},
	"multiple":  {callback.WithMultipleCalls(), callback.WithRepeatWindow(2 * time.Minute)},
	"held":      {callback.WithAnswerMode(callback.ModeHold)},
	"ack":       {callback.WithAnswerMode(callback.ModeAck)},
	"record":    nil,
}

// steps writes steps of the history to standard output.
type steps struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (s *steps) add(step map[string]any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	step["at"] = float64(time.Now().UnixMicro()) / 1e6
	if err := s.encoder.Encode(step); err != nil {
		log.Fatal(err)
	}
}

func main() {
	client, err := callback.NewClient(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	steps := &steps{encoder: json.NewEncoder(os.Stdout)}
	watch, err := client.WatchCalls(context.Background(), callback.WatchQuery{ReconnectTimeout: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer watch.Close()
	steps.add(map[string]any{"step": "watch_started"})
	go report(watch, steps)
	if err := generate(client, os.Stdin, steps); err != nil {
		log.Fatal(err)
	}
}

// generate generates a URL for each line of the input, several at the same time.
func generate(client *callback.Client, input io.Reader, steps *steps) error {
	var running sync.WaitGroup
	defer running.Wait()
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		running.Add(1)
		go func() {
			defer running.Done()
			step := map[string]any{"step": "generated", "number": asked.Number, "mode": asked.Mode, "case_id": "", "url": ""}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // longer than a server is away
			defer cancel()
			made, err := client.GenerateCallbackURL(ctx, asked.Activity, callback.Text("done").WithCode(202), options[asked.Mode]...)
			switch {
			case err == nil:
				step["case_id"], step["url"] = made.CaseID, made.URL
			case !errors.Is(err, callback.ErrUnavailable):
				log.Fatal(err)
			}
			steps.add(step)
		}()
	}
	return lines.Err()
}

// report adds a step for each event.
func report(watch *callback.Watch, steps *steps) {
	for event, err := range watch.Events() {
		if err != nil {
			steps.add(map[string]any{"step": "watch_lost", "reason": err.Error()})
			return
		}
		steps.add(map[string]any{"step": "watched", "type": event.Type, "case_id": event.CaseID, "call_id": event.CallID})
	}
}
