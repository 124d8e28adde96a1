// Package callbacktest starts a Callback system for tests: the same store, server and edge as in production, on
// loopback, with free ports and a temporary directory.
//
//	func TestMain(m *testing.M) {
//		system, err := callbacktest.Start(handlers)
//		…
//	}
//
// or, for one test:
//
//	system := callbacktest.New(t, handlers)
//	made, err := system.Client.GenerateCallbackURL(ctx, "order-paid", callback.Redirect(""))
//	reply, err := system.Browser.Get(made.URL + "?status=paid")
//
// Its Advance moves the time of all callbacks forward, so a reminder after three days is a matter of milliseconds.
//
// It runs the command line of Callback, which is a Python package: the environment variable CALLBACK_COMMAND has its
// command, such as "/opt/callback/bin/callback". The default is callback, on the path.
package callbacktest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"callback.example/callback"
)

const (
	startLimit = time.Minute
	stopLimit  = 40 * time.Second
	lastLines  = 20
)

var ready = regexp.MustCompile(`^ready edge=(\S+) grpc=(\S+)\n$`)

// System is a running system.
type System struct {
	// URL is the URL of the edge. Callback URLs begin with it.
	URL string
	// Target is the target of the server, for clients and workers of the code under test.
	Target string
	// Client is a client of the server.
	Client *callback.Client
	// HTTP calls URLs as the sender of a webhook does. It connects to the edge whatever the host of a URL is, and follows
	// no redirects.
	HTTP *http.Client
	// Browser is the same, with the headers of a browser that navigates to a page.
	Browser *http.Client
	// Log is the file with the log of the processes.
	Log string

	stop      []func() error
	advancing sync.Mutex
	input     io.Writer
	output    *bufio.Reader
}

// Option is an option of [Start] and [New].
type Option func(*options)

type options struct {
	config string
	worker []callback.WorkerOption
}

// WithConfig sets the settings: the text of a TOML file of the server. Listen addresses have no effect.
func WithConfig(toml string) Option { return func(given *options) { given.config = toml } }

// WithWorkerOptions sets options of the worker that runs the handlers.
func WithWorkerOptions(worker ...callback.WorkerOption) Option {
	return func(given *options) { given.worker = append(given.worker, worker...) }
}

// New starts a system for a test, with the handlers in a worker of this process. Handlers can be nil. The system stops at
// the end of the test.
func New(t testing.TB, handlers *callback.Handlers, options ...Option) *System {
	t.Helper()
	system, err := Start(handlers, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := system.Stop(); err != nil {
			t.Error(err)
		}
	})
	return system
}

// Start starts a system for several tests, as in TestMain. The caller stops it. It stops also when this process is killed.
func Start(handlers *callback.Handlers, given ...Option) (system *System, err error) {
	var chosen options
	for _, each := range given {
		if each == nil {
			return nil, errors.New("callbacktest: an option is nil")
		}
		each(&chosen)
	}
	directory, err := os.MkdirTemp("", "callback-")
	if err != nil {
		return nil, err
	}
	system = &System{Log: filepath.Join(directory, "callback.log")}
	defer func() {
		if err != nil {
			err = errors.Join(err, system.Stop())
			system = nil
		}
	}()
	system.onStop(func() error { return os.RemoveAll(directory) })
	edge, err := system.up(directory, chosen.config)
	if err != nil {
		return system, err
	}
	system.URL = "http://" + edge
	system.HTTP = clientOf(edge, nil)
	system.Browser = clientOf(edge, map[string]string{
		"User-Agent":     "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept":         "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Sec-Fetch-Dest": "document",
		"Sec-Fetch-Mode": "navigate",
		"Sec-Fetch-Site": "cross-site",
	})
	system.onStop(func() error { system.HTTP.CloseIdleConnections(); system.Browser.CloseIdleConnections(); return nil })
	if system.Client, err = callback.NewClient(system.Target); err != nil {
		return system, err
	}
	system.onStop(system.Client.Close)
	if handlers == nil {
		return system, nil
	}
	return system, system.work(handlers, chosen.worker)
}

// Stop stops the worker and the system, and removes its files.
func (s *System) Stop() error {
	var problems []error
	for index := len(s.stop) - 1; index >= 0; index-- {
		problems = append(problems, s.stop[index]())
	}
	s.stop = nil
	return errors.Join(problems...)
}

// Advance moves the time of all callbacks forward, by at least a millisecond, within milliseconds. When it returns,
// callbacks have expired, the windows of repeats are over, and reminders are handed out: wait for what their handlers do.
// A delivery that is due is tried again, and data past its retention will be deleted. A call that runs ends as
// INTERRUPTED if its lease is over by then. The time cannot be moved back. Signatures, tokens and certificates keep to the
// real time.
func (s *System) Advance(by time.Duration) error {
	if by < time.Millisecond {
		return fmt.Errorf("callbacktest: the time is moved by at least a millisecond, not by %s", by)
	}
	s.advancing.Lock()
	defer s.advancing.Unlock()
	if _, err := fmt.Fprintf(s.input, "advance %d\n", by.Milliseconds()); err != nil {
		return fmt.Errorf("callbacktest: the system has stopped: %w", err)
	}
	said, err := s.output.ReadString('\n')
	if err != nil {
		return fmt.Errorf("callbacktest: the system has stopped: %w", err)
	}
	if said != "advanced\n" {
		return fmt.Errorf("callbacktest: the time was %s", strings.TrimSpace(said))
	}
	return nil
}

func (s *System) onStop(stop func() error) { s.stop = append(s.stop, stop) }

// up runs callback up, and returns the address of the edge.
func (s *System) up(directory, config string) (edge string, err error) {
	command := strings.Fields(os.Getenv("CALLBACK_COMMAND"))
	if len(command) == 0 {
		command = []string{"callback"}
	}
	configFile := filepath.Join(directory, "callback.toml")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		return "", err
	}
	log, err := os.Create(s.Log)
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()
	arguments := append(command[1:], "up", "--test-clock", "--data-dir="+filepath.Join(directory, "data"),
		"--edge=127.0.0.1:0", "--grpc=127.0.0.1:0", "--no-console", "--config="+configFile)
	process := exec.Command(command[0], arguments...)
	process.Stderr = log
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CALLBACK_") {
			process.Env = append(process.Env, variable)
		}
	}
	input, err := process.StdinPipe() // the system stops when this process ends, for any reason: its input ends then
	if err != nil {
		return "", err
	}
	output, err := process.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := process.Start(); err != nil {
		return "", fmt.Errorf("callbacktest: set CALLBACK_COMMAND to the command of callback: %w", err)
	}
	s.onStop(func() error {
		late := time.AfterFunc(stopLimit, func() { _ = process.Process.Kill() })
		defer late.Stop()
		_ = input.Close()
		_, _ = io.Copy(io.Discard, output)
		return process.Wait()
	})
	late := time.AfterFunc(startLimit, func() { _ = process.Process.Kill() })
	defer late.Stop()
	s.input, s.output = input, bufio.NewReader(output)
	line, _ := s.output.ReadString('\n')
	found := ready.FindStringSubmatch(line)
	if found == nil {
		return "", fmt.Errorf("callbacktest: the system did not start. The last lines of its log:\n%s", s.lastLines())
	}
	s.Target = found[2]
	return found[1], nil
}

func (s *System) lastLines() string {
	log, _ := os.ReadFile(s.Log)
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-lastLines):], "\n")
}

// work runs the handlers in a worker until the system stops.
func (s *System) work(handlers *callback.Handlers, options []callback.WorkerOption) error {
	defaults := []callback.WorkerOption{callback.WithLogger(slog.New(slog.DiscardHandler)), callback.WithGrace(0)}
	worker, err := callback.NewWorker(s.Target, handlers, append(defaults, options...)...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	s.onStop(func() error { // first, so that no running handler delays the stop
		stop()
		<-ended
		return nil
	})
	select {
	case <-worker.Ready():
		return nil
	case err := <-ended:
		ended <- err
		return err
	}
}

// clientOf returns a client that connects to the edge, follows no redirects, and adds headers.
func clientOf(edge string, headers map[string]string) *http.Client {
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, edge)
		},
		DisableCompression: true,
	}
	return &http.Client{
		Transport:     &edgeTransport{Transport: transport, headers: headers},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
}

// edgeTransport sends each request without TLS: in production, a proxy in front of the edge has the certificates.
type edgeTransport struct {
	*http.Transport
	headers map[string]string
}

func (t *edgeTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme = "http"
	for name, value := range t.headers {
		if request.Header.Get(name) == "" {
			request.Header.Set(name, value)
		}
	}
	return t.Transport.RoundTrip(request)
}
