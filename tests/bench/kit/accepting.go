// Command accepting is what accepting.py is as a worker, with the client for Go: `accepting ACTIVITY SERVER TOKEN_FILE`.
package main

import (
	"context"
	"log"
	"os"

	"callback.example/callback"
)

func main() {
	var handlers callback.Handlers
	handlers.Handle(os.Args[1], func(context.Context, *callback.Call) (callback.Answer, error) {
		return callback.Answer{}, nil
	})
	worker, err := callback.NewWorker(os.Args[2], &handlers, callback.WithTokenFile(os.Args[3]))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(worker.Run(context.Background()))
}
