// Package callback is the client of Callback, which gives a service a URL for a request from an outside system, and lets
// the service decide what the caller gets.
//
//   - A [Client] generates URLs, sets responses, answers calls, and reads and watches what arrived.
//   - A [Worker] connects to the server and runs the [Handlers] of a service, without a port. [ListenAndServe] is the
//     alternative: a server for handlers, to which the Callback server connects.
//   - Package callbacktest starts a whole system for tests.
//
// # Words
//
// A case, which is a [Callback], is a URL with its settings: its activity, which names the handler that decides on its
// calls, and the response to a call, unless the handler overrides it. A [Call] is one request to that URL, as a handler
// gets it; a [RecordedCall] is the same with its result, as the server keeps it.
//
// # Targets
//
// A target is the address of a server: HOST:PORT, or several with commas between, as in server-1:50051,server-2:50051. A
// client uses the first server that it can reach, and a worker any one; both move to another one when it is lost. Names
// are looked up every 5 seconds, and after a failure. With
// TLS, the certificate of each server must be for its host, or for [TLSFiles].ServerName. Targets of gRPC are targets,
// too: dns:///callback:50051, ipv4:10.0.0.1:50051,10.0.0.2:50051 or unix:/run/callback.sock.
//
// # Errors
//
// Every error of a request is an [*Error]. Compare it with a [Reason], such as [ReasonCallbackClosed], with a kind, such
// as [ErrUnavailable], or with [context.Canceled] and [context.DeadlineExceeded]. Errors of wrong options are others.
//
// # Secrets
//
// fmt, log/slog and encodings such as encoding/json show a [GeneratedCallback], [Call], [RecordedCall], [Response],
// [Headers], [Query], [Pair], [Client] or [Worker] without a URL, state or token, and without what a caller
// sent or gets, also inside of other values. What is not masked:
//
//  1. A string or bytes that the program takes out of them, such as URL, Body, or what Get and AsJSON return.
//  2. A value in an unexported field of a struct of the program, in the output of fmt: it cannot call the methods there.
//     Give such a struct a String method, or export the field.
//  3. A value that fmt formats with %p or %w, which are for pointers and errors. go vet reports that.
//  4. The output of packages that read unexported fields, or call no methods, such as those that compare values in tests.
package callback
