// Command worker is the worker under test of callback conform, for the Go module, and its handler server. See
// clients/conformance/README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"callback.example/callback"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	var handlers callback.Handlers
	handlers.Handle(os.Getenv("CALLBACK_ACTIVITY"), handle)
	handlers.HandleNotification(os.Getenv("CALLBACK_ACTIVITY"), notified)
	if address := os.Getenv("CALLBACK_ADDRESS"); address != "" {
		return untilStopped(func(ctx context.Context) error {
			return callback.ListenAndServe(ctx, address, &handlers)
		})
	}
	slots, slotsErr := strconv.Atoi(os.Getenv("CALLBACK_MAX_CALLS"))
	runs, runsErr := strconv.Atoi(os.Getenv("CALLBACK_RUNS"))
	if err := errors.Join(slotsErr, runsErr); err != nil {
		return err
	}
	options := []callback.WorkerOption{
		callback.WithTokenFile(os.Getenv("CALLBACK_TOKEN_FILE")),
		callback.WithSlots(slots),
	}
	if authority := os.Getenv("CALLBACK_CA_FILE"); authority != "" {
		options = append(options, callback.WithTLSFiles(callback.TLSFiles{CA: authority}))
	}
	worker, err := callback.NewWorker(os.Getenv("CALLBACK_TARGET"), &handlers, options...)
	if err != nil {
		return err
	}
	for ; runs > 0 && err == nil; runs-- {
		err = untilStopped(worker.Run)
	}
	return err
}

// untilStopped runs a function whose context ends at SIGTERM.
func untilStopped(serve func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return serve(ctx)
}

func handle(ctx context.Context, call *callback.Call) (callback.Answer, error) {
	fmt.Println("started", call.CallID)
	defer func() {
		if ctx.Err() != nil {
			fmt.Println("cancelled", call.CallID)
		}
	}()
	response := callback.Text("").WithCode(201)
	switch call.ActivityCase {
	case "reject":
		return callback.Reject(callback.Text("no").WithCode(422)), nil
	case "fail":
		return callback.Answer{}, errors.New("it fails, as it was told to")
	case "wait":
		<-ctx.Done()
		return callback.Answer{}, ctx.Err()
	case "sleep":
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return callback.Answer{}, ctx.Err()
		}
	case "large":
		response.Body = []byte(strings.Repeat("x", 17<<20))
	case "five":
		response.Body = []byte(strings.Repeat("x", 5<<20))
	case "echo":
		for _, value := range call.Headers.Values("x-value") {
			response = response.WithHeader("x-echo", value)
		}
	}
	return callback.Accept(response), nil
}

func notified(_ context.Context, notification *callback.Notification) (callback.Answer, error) {
	fmt.Println("notified", notification.CallID)
	return callback.Answer{}, nil
}
