package callback

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	v1 "callback.example/callback/v1"
)

// Watch is a watch of cases and calls. Except for Close, it is not safe for concurrent use.
type Watch struct {
	client  *Client
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
	request *v1.WatchCallsRequest
	stream  grpc.ServerStreamingClient[v1.WatchCallsResponse]
	events  []*Event
}

// WatchCalls starts a watch: it misses no event that happens after it returns. A principal with the role admin sees the
// events of all owners, any other principal those of its own callbacks. The watch ends with its context, or with Close.
//
//	watch, err := client.WatchCalls(ctx, callback.WatchQuery{Activity: "order-paid"})
//	if err != nil {
//		return err
//	}
//	defer watch.Close()
//	for event, err := range watch.Events() { … }
//
// If the connection breaks, or the watch is too slow for the server, it reconnects and continues from its position without
// a gap. It fails if it cannot reconnect within the ReconnectTimeout of the query.
//
// Errors: WATCH_POSITION_LOST (list the current state, then watch without a token), TOO_MANY_WATCHERS, [ErrNotFound],
// INVALID_REQUEST, [ErrUnavailable].
func (c *Client) WatchCalls(ctx context.Context, query WatchQuery) (*Watch, error) {
	if ctx == nil {
		return nil, refusal("the context is nil")
	}
	watch := c.newWatch(ctx, query)
	if err := watch.receive(); err != nil {
		watch.cancel(nil)
		return nil, err
	}
	return watch, nil
}

// newWatch returns a watch that opens its stream when it receives.
func (c *Client) newWatch(ctx context.Context, query WatchQuery) *Watch {
	watch := &Watch{client: c, timeout: query.ReconnectTimeout, request: query.message()}
	if watch.timeout == 0 {
		watch.timeout = c.connection.timeout
	}
	watch.ctx, watch.cancel = context.WithCancelCause(ctx)
	return watch
}

// Events returns the events, in order for each case, until the loop breaks or an error ends the watch. A later loop
// continues where the last one stopped. The end of the context is an error, as everywhere ([context.Canceled] or
// [context.DeadlineExceeded]); Close is none.
func (w *Watch) Events() iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			for len(w.events) > 0 && !w.isClosed() {
				event := w.events[0]
				w.events = w.events[1:]
				if event.ResumeToken != "" {
					w.request.ResumeToken = event.ResumeToken
				}
				if !yield(event, nil) {
					return
				}
			}
			if err := w.receive(); err != nil {
				if !w.isClosed() {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// ResumeToken is the position of the watch: after the last event of Events, and after later events that the query
// excludes.
func (w *Watch) ResumeToken() string { return w.request.GetResumeToken() }

// Close ends the watch, and a loop over its events. It is safe in another goroutine. Closing twice has no effect.
func (w *Watch) Close() { w.cancel(errWatchClosed) }

func (w *Watch) isClosed() bool { return errors.Is(context.Cause(w.ctx), errWatchClosed) }

// errWatchClosed is the cause of the end of a watch that was closed.
var errWatchClosed = errors.New("callback: the watch is closed")

// receive receives the next message. If the stream breaks, it opens another one from the current position.
func (w *Watch) receive() error {
	var lost time.Time // when the connection was lost
	pauses := pauses{next: 100 * time.Millisecond, longest: time.Second}
	for {
		message, refused := w.next()
		if refused == nil {
			w.events = each(message.GetEvents(), eventOf)
			if len(w.events) == 0 {
				w.request.ResumeToken = message.GetResumeToken()
			}
			return nil
		}
		w.stream = nil
		if lost.IsZero() {
			lost = time.Now()
		}
		if refused.canResumeWatch() && w.client.connection.retry {
			pause := pauses.take(refused.RetryAfter)
			isLate := w.timeout > 0 && time.Since(lost)+pause >= w.timeout
			if !isLate && sleep(w.ctx, pause) {
				continue
			}
		}
		if refused.Code == codes.DeadlineExceeded && w.ctx.Err() != nil {
			refused.Message = "the deadline of the context of the watch has passed"
		}
		return refused.endedBy(w.ctx, "the watch")
	}
}

// untilChange waits until a new watch has begun, or for the next events of one that has. It does not reconnect.
func (w *Watch) untilChange(isNew bool) error {
	for {
		message, refused := w.next()
		if refused != nil {
			return refused
		}
		if isNew || len(message.GetEvents()) > 0 {
			return nil
		}
	}
}

// next returns the next message of the stream, and opens the stream if there is none.
func (w *Watch) next() (*v1.WatchCallsResponse, *Error) {
	if w.stream == nil {
		ctx, refused := w.client.connection.outgoing(w.ctx)
		if refused != nil {
			return nil, refused
		}
		stream, err := w.client.callbacks.WatchCalls(ctx, w.request)
		if err != nil {
			return nil, w.client.failure(w.ctx, err, w.request)
		}
		w.stream = stream
	}
	message, err := w.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, &Error{Code: codes.Unavailable, Message: "the server ended the watch"}
	}
	if err != nil {
		return nil, w.client.failure(w.ctx, err, w.request)
	}
	return message, nil
}
