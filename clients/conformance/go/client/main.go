// Command client is the client driver under test of callback conform, for the Go module. See
// clients/conformance/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"callback.example/callback"
)

// command is one line of standard input.
type command struct {
	Do          string  `json:"do"`
	Activity    string  `json:"activity"`
	RequestID   string  `json:"request_id"`
	CaseID      string  `json:"case_id"`
	ResumeToken string  `json:"resume_token"`
	Count       int     `json:"count"`
	TimeoutS    float64 `json:"timeout_s"`
	// Choices are the values of the choices of the prompt.
	Choices []string `json:"choices"`
	// IsNoUnicode says that the activity is text that is no Unicode.
	IsNoUnicode bool `json:"is_no_unicode"`
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	options := []callback.ClientOption{callback.WithTokenFile(os.Getenv("CALLBACK_TOKEN_FILE"))}
	if authority := os.Getenv("CALLBACK_CA_FILE"); authority != "" {
		options = append(options, callback.WithTLSFiles(callback.TLSFiles{CA: authority}))
	}
	client, err := callback.NewClient(os.Getenv("CALLBACK_TARGET"), options...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var given command
		if err := json.Unmarshal(lines.Bytes(), &given); err != nil {
			return err
		}
		result := map[string]any{}
		done, err := given.run(client)
		var refused *callback.Error
		switch {
		case err == nil:
			result["ok"] = done
		case errors.Is(err, callback.ReasonInvalidRequest) && given.IsNoUnicode:
			result["refused"] = true
		case errors.As(err, &refused):
			result["error"] = describe(refused)
		default:
			return err
		}
		line, err := json.Marshal(result)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return lines.Err()
}

// run does what a command says, and returns its result.
func (c command) run(client *callback.Client) (map[string]any, error) {
	timeout := time.Duration(c.TimeoutS * float64(time.Second))
	if c.Do == "watch" {
		return c.watch(client, timeout)
	}
	ctx := context.Background()
	if timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		ctx = limited
	}
	switch c.Do {
	case "generate":
		options := []callback.GenerateOption{callback.WithRequestID(c.RequestID)}
		if len(c.Choices) > 0 {
			prompt := &callback.Prompt{Title: "Choose"}
			for _, value := range c.Choices {
				prompt.Choices = append(prompt.Choices, &callback.Choice{Value: value, Label: value})
			}
			options = append(options, callback.WithGetGuard(callback.GuardConfirm), callback.WithPrompt(prompt))
		}
		if c.IsNoUnicode {
			c.Activity = "\xff"
		}
		made, err := client.GenerateCallbackURL(ctx, c.Activity, callback.Text("ok"), options...)
		if err != nil {
			return nil, err
		}
		return map[string]any{"case_id": made.CaseID, "url": made.URL}, nil
	case "get":
		found, err := client.GetCallback(ctx, c.CaseID)
		if err != nil {
			return nil, err
		}
		return map[string]any{"case_id": found.CaseID, "activity": found.Activity, "status": found.Status}, nil
	case "wait":
		call, err := client.WaitForCall(ctx, c.CaseID, 0)
		if err != nil {
			return nil, err
		}
		return map[string]any{"call_id": call.CallID}, nil
	case "close":
		return map[string]any{}, client.Close()
	}
	return nil, fmt.Errorf("no such command: %s", c.Do)
}

func (c command) watch(client *callback.Client, timeout time.Duration) (map[string]any, error) {
	watch, err := client.WatchCalls(context.Background(), callback.WatchQuery{
		CaseID: c.CaseID, ResumeToken: c.ResumeToken, ReconnectTimeout: timeout,
	})
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	events := []map[string]any{}
	for event, err := range watch.Events() {
		if err != nil {
			return nil, err
		}
		events = append(events, map[string]any{"type": event.Type, "case_id": event.CaseID, "call_id": event.CallID})
		if len(events) == c.Count {
			break
		}
	}
	return map[string]any{"events": events, "resume_token": watch.ResumeToken()}, nil
}

// describe returns an error as an object.
func describe(refused *callback.Error) map[string]any {
	violations := []map[string]any{}
	for _, each := range refused.Violations {
		violations = append(violations, map[string]any{
			"field": each.Field, "description": each.Description, "rule": each.Rule,
		})
	}
	facts := refused.Facts
	if facts == nil {
		facts = map[string]string{}
	}
	var retryAfter any
	if refused.RetryAfter > 0 {
		retryAfter = refused.RetryAfter.Seconds()
	}
	return map[string]any{
		"code": code.Code(refused.Code).String(), "reason": refused.Reason, "facts": facts, "violations": violations,
		"retry_after_s": retryAfter,
	}
}
