package callback_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"callback.example/callback"
)

func Example() {
	client, err := callback.NewClient(callback.DefaultTarget)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	made, err := client.GenerateCallbackURL(context.Background(), "order-paid", callback.Redirect("https://shop.example/thankyou"),
		callback.WithRequestID("order-5"), callback.WithTimeToLive(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made.URL) // for the outside system
}

func ExampleWorker_Run() {
	var handlers callback.Handlers
	handlers.Handle("order-paid", func(_ context.Context, call *callback.Call) (callback.Answer, error) {
		if call.Query.Get("status") != "paid" {
			return callback.Reject(callback.Text("not paid").WithCode(400)), nil
		}
		return callback.Accept(callback.Redirect("https://shop.example/thankyou")), nil
	})
	worker, err := callback.NewWorker(callback.DefaultTarget, &handlers)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleClient_WatchCalls() {
	client, err := callback.NewClient("server-1:50051,server-2:50051", callback.WithTokenFile("token"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	watch, err := client.WatchCalls(ctx, callback.WatchQuery{Activity: "order-paid"})
	if err != nil {
		log.Fatal(err)
	}
	defer watch.Close()
	for event, err := range watch.Events() {
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type, event.CaseID)
	}
}

func ExampleError() {
	var err error = &callback.Error{Reason: callback.ReasonCallbackClosed, Facts: map[string]string{"close_reason": "EXPIRED"}}
	var refused *callback.Error
	if errors.Is(err, callback.ReasonCallbackClosed) && errors.As(err, &refused) {
		fmt.Println(refused.CloseReason())
	}
	// Output: EXPIRED
}

func ExampleGeneratedCallback_String() {
	made := &callback.GeneratedCallback{CaseID: "0123", URL: "https://box.example/cb/secret"}
	fmt.Printf("%v %+v %s\n", made, []any{made}, made.URL)
	// Output: GeneratedCallback[case_id=0123] [GeneratedCallback[case_id=0123]] https://box.example/cb/secret
}
