package callback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	v1 "callback.example/callback/v1"
)

const (
	welcomeTimeout     = 10 * time.Second
	firstWorkerPause   = 200 * time.Millisecond
	longestWorkerPause = 5 * time.Second
	lookAtFiles        = time.Second // how often a connected worker looks whether its files have changed
	maxBatchMessages   = 64
	maxBatchBytes      = 256 << 10
	maxFieldBytes      = 6                      // tag and length of a message in a batch
	maxAnswerBytes     = maxMessageBytes - 1536 // a server accepts no larger message: it would end the stream
	lastPause          = time.Second            // after the grace period
)

// Worker runs handlers without a port: it connects to a server, and receives the calls of its activities. Make one with
// NewWorker: the zero value is not usable.
//
//  1. A worker keeps one stream to one server, and receives the calls of every server of the deployment through it. It
//     connects to any address of its target, and to another one when that server is lost or stops.
//  2. A handler starts only after the server has confirmed its call, and the server confirms it to one worker only. If
//     the worker is lost before that, the server offers the call to another worker.
//  3. A call occupies a slot until its handler has returned, also after its deadline.
//  4. The worker reconnects by itself, with exponential backoff and jitter. It detects a server that vanished within 15
//     seconds.
//  5. When its token file or its TLS files have changed, which the worker looks for every second, it opens another stream
//     with them. Once that is welcome, it finishes the calls of the old stream and leaves that. Until then it keeps the old
//     one: the server may not know the new token yet.
type Worker struct {
	connection *connection
	handlers   *Handlers
	slots      chan struct{}
	ready      chan struct{}
	readyOnce  sync.Once
	isRunning  atomic.Bool
	running    sync.WaitGroup
	mutex      sync.Mutex
	streams    map[*workerStream]struct{}
	// storeEpochs is what the last server knows of its store, for the next one. It is not read here.
	storeEpochs []byte
}

// NewWorker returns a worker that is not connected yet. The target is host:port, several of them with commas between, or
// another target of gRPC such as dns:///callback:50051, with any number of addresses.
func NewWorker(target string, handlers *Handlers, options ...WorkerOption) (*Worker, error) {
	given, err := settingsOf(options)
	if err != nil {
		return nil, err
	}
	if err := handlers.check(); err != nil {
		return nil, err
	}
	if given.name == "" {
		host, _ := os.Hostname()
		given.name = strings.ToValidUTF8(fmt.Sprintf("%s-%d", host, os.Getpid()), "?")
	}
	connection, err := newConnection(target, given)
	if err != nil {
		return nil, err
	}
	return &Worker{
		connection: connection,
		handlers:   handlers,
		slots:      make(chan struct{}, given.slots),
		ready:      make(chan struct{}),
		streams:    map[*workerStream]struct{}{},
	}, nil
}

// Ready returns a channel that is closed when a server has welcomed the worker for the first time.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Connected returns whether a server has welcomed the worker, and is not stopping: for a readiness probe.
func (w *Worker) Connected() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for stream := range w.streams {
		if stream.isServing() {
			return true
		}
	}
	return false
}

// Run serves until the context ends. Then it accepts no new calls, and lets running calls finish within the grace period
// ([WithGrace]):
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := worker.Run(ctx)
//
// It returns nil after a stop in which every call has finished. It returns an error if a call did not finish, and an
// [*Error] if the server refuses the first connection of the worker: the token is wrong, or the principal may not handle
// one of the activities. A later refusal, such as during the replacement of a token, is logged, and the worker tries
// again. While a worker runs, a second Run returns an error. Once the first one has returned, the worker can run again.
func (w *Worker) Run(ctx context.Context) error {
	if ctx == nil {
		return errNoContext
	}
	if w.isRunning.Swap(true) {
		return errors.New("callback: the worker runs already: stop it first, or make another one with NewWorker")
	}
	defer w.isRunning.Store(false)
	serving, abort := context.WithCancel(context.WithoutCancel(ctx)) // handlers outlive ctx by the grace period
	defer abort()
	if err := w.stayConnected(ctx, serving); err != nil {
		return err
	}
	w.connection.logger.Info("stopping", "grace", w.connection.grace)
	w.mutex.Lock()
	for stream := range w.streams {
		stream.drain()
	}
	w.mutex.Unlock()
	finished := make(chan struct{})
	go func() {
		w.running.Wait()
		close(finished)
	}()
	return stop(finished, w.connection.grace, w.unfinished, abort)
}

// unfinished returns the number of calls that have started, or may start, and have not ended.
func (w *Worker) unfinished() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	count := 0
	for stream := range w.streams {
		count += stream.unfinished()
	}
	return count
}

// stop waits until everything has finished, for a grace period. Then it aborts what still runs, and returns an error if
// there were calls among that. Streams and connections without calls are no reason for an error: their other side ends
// them in a moment, whatever the grace period is.
func stop(finished <-chan struct{}, grace time.Duration, unfinished func() int, abort func()) error {
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-finished:
		return nil
	case <-limit.C:
	}
	count := unfinished()
	if count > 0 {
		abort()
	}
	select {
	case <-finished:
	case <-time.After(lastPause): // for a handler that does not end with its context
	}
	abort()
	if count > 0 {
		return fmt.Errorf("callback: the grace period of %v ended before all calls did: %d still ran", grace, count)
	}
	return nil
}

// stayConnected keeps a stream to a server until ctx ends, and opens another one when it ends, the server is draining, or
// files change. It returns an error if a server refuses the first connection.
func (w *Worker) stayConnected(ctx, serving context.Context) error {
	newPauses := func() *pauses { return &pauses{next: firstWorkerPause, longest: longestWorkerPause} }
	pauses := newPauses()
	var last *workerStream // the last one that was welcome
	for {
		stream := w.open(serving, last)
		if !w.needsAnother(ctx, stream) {
			return nil
		}
		if stream.isWelcome() {
			pauses, last = newPauses(), stream
		}
		if err := w.logEnd(stream); err != nil {
			return err
		}
		if !sleep(ctx, pauses.take(0)) {
			return nil
		}
	}
}

// needsAnother waits until the worker needs another stream than this one. It returns false if ctx ends before.
func (w *Worker) needsAnother(ctx context.Context, stream *workerStream) bool {
	look := time.NewTicker(lookAtFiles)
	defer look.Stop()
	for {
		select {
		case <-stream.leaving:
			return true
		case <-ctx.Done():
			return false
		case <-look.C:
			if stream.isWelcome() && w.connection.haveFilesChanged() {
				return true
			}
		}
	}
}

// open starts a stream to a server, in place of an earlier one if there is one.
func (w *Worker) open(serving context.Context, earlier *workerStream) *workerStream {
	stream := &workerStream{
		worker:  w,
		earlier: earlier,
		calls:   map[string]*workerCall{},
		wake:    make(chan struct{}, 1),
		leaving: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	stream.ctx, stream.cancel = context.WithCancelCause(serving)
	w.mutex.Lock()
	w.streams[stream] = struct{}{}
	w.mutex.Unlock()
	w.running.Add(1)
	go func() {
		defer w.running.Done()
		stream.run()
		w.mutex.Lock()
		delete(w.streams, stream)
		w.mutex.Unlock()
	}()
	return stream
}

// logEnd logs why the worker needs another stream. It returns an error if the server refused the first connection.
func (w *Worker) logEnd(stream *workerStream) error {
	select {
	case <-stream.ended:
	default:
		event := "server_draining"
		if stream.isServing() {
			event = "files_changed"
		}
		w.connection.logger.Info(event, "target", w.connection.target)
		return nil
	}
	var refused *Error
	select {
	case <-w.ready:
	default:
		if errors.As(stream.err, &refused) && refused.isFinalRefusal() {
			return stream.err
		}
	}
	if stream.err != nil {
		w.connection.logger.Warn("worker_disconnected", "error", stream.err)
	}
	return nil
}

// keepStoreEpochs keeps what a server passes on to the next one.
func (w *Worker) keepStoreEpochs(epochs []byte) {
	if len(epochs) > 0 {
		w.mutex.Lock()
		w.storeEpochs = epochs
		w.mutex.Unlock()
	}
}

func (w *Worker) hello() *v1.Hello {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return &v1.Hello{
		CallbackActivities:     w.handlers.Activities(),
		NotificationActivities: w.handlers.NotificationActivities(),
		MaxCalls:               int32(cap(w.slots)),
		Name:                   w.connection.name,
		StoreEpochs:            w.storeEpochs,
		MaxMessageBytes:        maxMessageBytes,
	}
}

// workerStream is a stream to a server, from Hello to its end.
type workerStream struct {
	worker *Worker
	// earlier is the stream that this one replaces when it is welcome. It may have ended.
	earlier *workerStream
	// ctx is the context of the handlers: it ends with the stream, and not before.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// leaving is closed when the worker needs another stream: the server is draining, or the stream has ended.
	leaving     chan struct{}
	leavingOnce sync.Once
	// ended is closed when the stream has ended. err is then why: nil if the server ended it regularly.
	ended chan struct{}
	err   error

	// wake has a value when there are outgoing messages.
	wake     chan struct{}
	mutex    sync.Mutex
	outgoing []*v1.WorkerMessage
	calls    map[string]*workerCall
	welcome  bool
	draining bool
}

// workerCall is a call that the server offered.
type workerCall struct {
	request *v1.HandleCallbackRequest
	// ctx ends when the call is withdrawn, or with the stream.
	ctx    context.Context
	cancel context.CancelFunc
	// confirmed is closed when the server confirms the call: the handler may start.
	confirmed   chan struct{}
	isConfirmed bool
	// accepted says whether the call has a slot, and the server knows it: it may confirm the call at any moment.
	accepted bool
}

// errWelcomeTimeout ends a stream whose server does not welcome the worker.
var errWelcomeTimeout = fmt.Errorf("callback: the server did not welcome the worker within %v", welcomeTimeout)

// run runs the stream to its end.
func (s *workerStream) run() {
	s.err = s.converse()
	s.cancel(nil)
	close(s.ended)
	s.leave()
}

// converse connects, and handles the messages of the server until one side ends the stream. It returns why: nil if the
// server ended it regularly.
func (s *workerStream) converse() error {
	connection := s.worker.connection
	// Each stream has its own connection, to any address of the target, so that workers spread over the servers.
	opened, err := connection.open(grpc.WithDefaultServiceConfig(anyAddress))
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	limit := time.AfterFunc(welcomeTimeout, func() { s.cancel(errWelcomeTimeout) })
	defer limit.Stop()
	ctx, refused := connection.outgoing(s.ctx)
	if refused != nil {
		return refused
	}
	rpc, err := v1.NewWorkerServiceClient(opened).Work(ctx)
	if err != nil {
		return s.failure(err)
	}
	hello := &v1.WorkerMessage{Message: &v1.WorkerMessage_Hello{Hello: s.worker.hello()}}
	// An error of Send says nothing: that of Recv has the status.
	_ = rpc.Send(&v1.WorkRequest{Messages: []*v1.WorkerMessage{hello}})
	s.worker.running.Add(1)
	go func() {
		defer s.worker.running.Done()
		s.sendAll(rpc)
	}()
	for {
		response, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.failure(err)
		}
		limit.Stop()
		for _, message := range response.GetMessages() {
			s.receive(message)
		}
	}
}

// failure returns the error of a broken stream.
func (s *workerStream) failure(err error) error {
	if cause := context.Cause(s.ctx); errors.Is(cause, errWelcomeTimeout) {
		return cause
	}
	return fromRPCError(err, s.worker.connection.target, s.worker.connection.credentials != nil)
}

// sendAll sends the messages to the server, until the stream ends.
func (s *workerStream) sendAll(rpc grpc.BidiStreamingClient[v1.WorkRequest, v1.WorkResponse]) {
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		runtime.Gosched() // goroutines that are ready to send add their messages first: one batch costs less than several
		for batch := s.nextBatch(); len(batch) > 0; batch = s.nextBatch() {
			if rpc.Send(&v1.WorkRequest{Messages: batch}) != nil {
				return // Recv gets the status
			}
		}
	}
}

// nextBatch returns as many of the outgoing messages as fit into one batch. A large message is sent alone.
func (s *workerStream) nextBatch() []*v1.WorkerMessage {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	count, size := 0, 0
	for count < min(len(s.outgoing), maxBatchMessages) {
		size += proto.Size(s.outgoing[count]) + maxFieldBytes
		if count > 0 && size > maxBatchBytes {
			break
		}
		count++
	}
	batch := s.outgoing[:count:count]
	s.outgoing = s.outgoing[count:]
	return batch
}

// send queues a message. The caller holds the mutex.
func (s *workerStream) send(message *v1.WorkerMessage) {
	s.outgoing = append(s.outgoing, message)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// receive handles a message of the server. It ignores one that it does not know.
func (s *workerStream) receive(message *v1.ServerMessage) {
	logger := s.worker.connection.logger
	switch message := message.GetMessage().(type) {
	case *v1.ServerMessage_Welcome:
		s.onWelcome(message.Welcome)
	case *v1.ServerMessage_Offer:
		s.onOffer(message.Offer)
	case *v1.ServerMessage_Confirm:
		s.onConfirm(message.Confirm.GetCallId())
	case *v1.ServerMessage_Withdraw:
		s.onWithdraw(message.Withdraw.GetCallId())
	case *v1.ServerMessage_Drain:
		s.leave()
	case *v1.ServerMessage_StoreEpochs:
		s.worker.keepStoreEpochs(message.StoreEpochs)
	case *v1.ServerMessage_AnswerRefused:
		logAnswerRefused(logger, message.AnswerRefused)
	}
}

func (s *workerStream) onWelcome(welcome *v1.Welcome) {
	connection := s.worker.connection
	s.mutex.Lock()
	s.welcome = true
	s.mutex.Unlock()
	s.worker.keepStoreEpochs(welcome.GetStoreEpochs())
	for _, notice := range welcome.GetNotices() {
		connection.logger.Warn("server_notice", "notice", notice)
	}
	served := slices.DeleteFunc(s.worker.handlers.served(), func(activity string) bool {
		return slices.Contains(welcome.GetUnroutableActivities(), activity)
	})
	connection.logger.Info("worker_connected", "target", connection.target, "activities", served)
	if s.earlier != nil && s.earlier.isServing() { // files have changed
		s.earlier.drain()
	}
	s.earlier = nil // and with it the one before that
	s.worker.readyOnce.Do(func() { close(s.worker.ready) })
}

// onOffer starts the goroutine of an offered call. It sends one result: the decision, or that it declined.
func (s *workerStream) onOffer(request *v1.HandleCallbackRequest) {
	call := &workerCall{request: request, confirmed: make(chan struct{})}
	call.ctx, call.cancel = context.WithCancel(s.ctx)
	s.mutex.Lock()
	s.calls[request.GetCallId()] = call
	if s.draining {
		call.cancel()
	}
	s.mutex.Unlock()
	s.worker.running.Add(1)
	go func() {
		defer s.worker.running.Done()
		s.handle(call)
	}()
}

func (s *workerStream) onConfirm(callID string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if call := s.calls[callID]; call != nil && call.ctx.Err() == nil && !call.isConfirmed {
		call.isConfirmed = true
		close(call.confirmed)
	}
}

func (s *workerStream) onWithdraw(callID string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if call := s.calls[callID]; call != nil {
		call.cancel()
	}
}

// handle waits for a slot and for the confirmation, runs the handler, and sends the result of the call.
func (s *workerStream) handle(call *workerCall) {
	result := &v1.Result{CallId: call.request.GetCallId(), Outcome: &v1.Result_Declined{Declined: &v1.Declined{}}}
	defer s.finish(call, result)
	decider := s.worker.handlers.decider(call.request)
	if decider == nil {
		return
	}
	select {
	case s.worker.slots <- struct{}{}:
	case <-call.ctx.Done():
		return
	}
	defer func() { <-s.worker.slots }() // before the result is sent: the server then offers the next call
	if !s.accept(call) {
		return
	}
	select {
	case <-call.confirmed:
	case <-call.ctx.Done():
		return
	}
	decision, err := decide(call.ctx, s.worker.connection.logger, call.request, decider, maxAnswerBytes)
	if err != nil {
		result.Outcome = &v1.Result_Error{Error: err.Error()}
		return
	}
	result.Outcome = &v1.Result_Response{Response: decision}
}

// accept tells the server that a call has a slot. It returns false if the call is over, or the worker is draining.
func (s *workerStream) accept(call *workerCall) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if call.ctx.Err() != nil {
		return false
	}
	call.accepted = true
	accept := &v1.Accept{CallId: call.request.GetCallId()}
	s.send(&v1.WorkerMessage{Message: &v1.WorkerMessage_Accept{Accept: accept}})
	return true
}

func (s *workerStream) finish(call *workerCall, result *v1.Result) {
	call.cancel()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.calls[result.GetCallId()] == call {
		delete(s.calls, result.GetCallId())
	}
	s.send(&v1.WorkerMessage{Message: &v1.WorkerMessage_Result{Result: result}})
}

// drain asks for no more calls. Started calls continue; then the server ends the stream.
func (s *workerStream) drain() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.welcome {
		s.cancel(nil)
		return
	}
	s.draining = true
	for _, call := range s.calls {
		if !call.accepted {
			call.cancel()
		}
	}
	s.send(&v1.WorkerMessage{Message: &v1.WorkerMessage_Drain{Drain: &v1.Drain{}}})
}

// unfinished returns the number of calls that the server knows to be accepted, and that have not ended.
func (s *workerStream) unfinished() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	count := 0
	for _, call := range s.calls {
		if call.accepted {
			count++
		}
	}
	return count
}

func (s *workerStream) leave() { s.leavingOnce.Do(func() { close(s.leaving) }) }

func (s *workerStream) isWelcome() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.welcome
}

// isServing returns whether the server sends calls over this stream.
func (s *workerStream) isServing() bool {
	select {
	case <-s.leaving:
		return false
	default:
		return s.isWelcome()
	}
}
