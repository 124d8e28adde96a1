package callback

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

const (
	// DefaultTarget is the address at which callback up listens.
	DefaultTarget = "127.0.0.1:50051"
	// DefaultTimeout is how long a request may take with all its attempts, if its context has no deadline.
	DefaultTimeout = 10 * time.Second
	// DefaultSlots is the number of calls that a worker handles at the same time.
	DefaultSlots = 100
	// DefaultGrace is how long running calls may continue after a stop.
	DefaultGrace = 10 * time.Second
)

// ClientOption is an option of [NewClient].
type ClientOption interface {
	clientOption()
	apply(*settings) error
}

// WorkerOption is an option of [NewWorker].
type WorkerOption interface {
	workerOption()
	apply(*settings) error
}

// ServerOption is an option of [Serve] and [ListenAndServe].
type ServerOption interface {
	serverOption()
	apply(*settings) error
}

// ConnectionOption is an option of clients and workers.
type ConnectionOption interface {
	ClientOption
	WorkerOption
}

// WithConnection returns all of these options as one, to pass those of a connection on to a client and to a worker:
//
//	shared := callback.WithConnection(options...) // a []ConnectionOption
//	client, err := callback.NewClient(target, shared)
//	worker, err := callback.NewWorker(target, handlers, shared)
func WithConnection(options ...ConnectionOption) ConnectionOption {
	return option(func(given *settings) error { return applyAll(given, options) })
}

// HandlingOption is an option of workers and handler servers.
type HandlingOption interface {
	WorkerOption
	ServerOption
}

// Option is an option of clients, workers and handler servers.
type Option interface {
	ClientOption
	WorkerOption
	ServerOption
}

// option is every option. Its constructors return the interface that says where it belongs.
type option func(*settings) error

func (o option) apply(given *settings) error { return o(given) }
func (option) clientOption()                 {}
func (option) workerOption()                 {}
func (option) serverOption()                 {}

// settings are what the options of one client, worker or handler server say.
type settings struct {
	logger            *slog.Logger
	credentials       credentials.TransportCredentials
	serverName        string
	token             func(context.Context) (string, error)
	tokenFile         *tokenFile
	dialOptions       []grpc.DialOption
	timeout           time.Duration
	retry             bool
	slots             int
	grace             time.Duration
	name              string
	serverCredentials credentials.TransportCredentials
	serverOptions     []grpc.ServerOption
}

func settingsOf[Given interface{ apply(*settings) error }](options []Given) (*settings, error) {
	result := &settings{
		logger: slog.Default(), timeout: DefaultTimeout, retry: true, slots: DefaultSlots, grace: DefaultGrace,
	}
	if err := applyAll(result, options); err != nil {
		return nil, fmt.Errorf("callback: %w", err)
	}
	return result, nil
}

func applyAll[Given interface{ apply(*settings) error }](given *settings, options []Given) error {
	for _, each := range options {
		if any(each) == nil {
			return errors.New("an option is nil")
		}
		if err := each.apply(given); err != nil {
			return err
		}
	}
	return nil
}

// WithLogger sets the logger. The default is [slog.Default], when the client, worker or server is made.
func WithLogger(logger *slog.Logger) Option {
	return option(func(given *settings) error {
		if logger == nil {
			return errors.New("the logger is nil")
		}
		given.logger = logger
		return nil
	})
}

// WithTLS connects with TLS. A token then never crosses the network in plain text. Nil is the default configuration, as
// in crypto/tls.
func WithTLS(config *tls.Config) ConnectionOption {
	return option(func(given *settings) error {
		if config != nil {
			given.serverName = config.ServerName
		}
		given.credentials = credentials.NewTLS(config)
		return nil
	})
}

// WithTLSFiles connects with TLS by PEM files. They are read with each connection, so that a new certificate takes
// effect without a restart, and a worker connects again when they change. While they are unusable, the last ones stay in
// use.
func WithTLSFiles(files TLSFiles) ConnectionOption {
	return option(func(given *settings) (err error) {
		given.serverName = files.ServerName
		given.credentials, err = newFileCredentials(files, func() *slog.Logger { return given.logger })
		return err
	})
}

// WithToken sets the bearer token.
func WithToken(token string) ConnectionOption {
	return option(func(given *settings) error {
		if err := checkToken(token); err != nil {
			return err
		}
		return given.setToken(func(context.Context) (string, error) { return token, nil })
	})
}

// WithTokenSource sets a function that returns the bearer token. It is called with each request, and with each
// connection of a worker: the server asks a worker for another connection before its token expires.
func WithTokenSource(token func(context.Context) (string, error)) ConnectionOption {
	return option(func(given *settings) error {
		if token == nil {
			return errors.New("the source of tokens is nil")
		}
		return given.setToken(func(ctx context.Context) (string, error) {
			current, err := token(ctx)
			if err != nil {
				return "", err
			}
			return current, checkToken(current)
		})
	})
}

// WithTokenFile sets a file with the bearer token. It is read with each request, so that a new token takes effect
// without a restart. A worker connects again when it changes. While it is unusable, the last token stays in use.
func WithTokenFile(path string) ConnectionOption {
	return option(func(given *settings) error {
		file := &tokenFile{path: path, logger: func() *slog.Logger { return given.logger }}
		var err error
		if file.last, err = file.read(); err != nil {
			return err
		}
		given.tokenFile = file
		return given.setToken(file.token)
	})
}

// WithDialOptions adds options of gRPC to the connection, such as a stats handler of OpenTelemetry, or resolvers.
func WithDialOptions(options ...grpc.DialOption) ConnectionOption {
	return option(func(given *settings) error {
		if slices.Contains(options, nil) {
			return errors.New("an option of gRPC is nil")
		}
		given.dialOptions = append(given.dialOptions, options...)
		return nil
	})
}

// WithTimeout sets how long a request may take with all its attempts, if its context has no deadline.
func WithTimeout(timeout time.Duration) ClientOption {
	return option(func(given *settings) error {
		if timeout <= 0 {
			return fmt.Errorf("the timeout must be positive, not %v", timeout)
		}
		given.timeout = timeout
		return nil
	})
}

// WithoutRetries sends every request once: for interactive programs.
func WithoutRetries() ClientOption {
	return option(func(given *settings) error {
		given.retry = false
		return nil
	})
}

// WithSlots sets how many calls a worker handles at the same time, 1 to 1,000.
func WithSlots(slots int) WorkerOption {
	return option(func(given *settings) error {
		if slots < 1 || slots > 1000 {
			return fmt.Errorf("the number of slots must be 1 to 1,000, not %d", slots)
		}
		given.slots = slots
		return nil
	})
}

// WithName sets the name of a worker in the log of the server. The default is the host name and the process id.
func WithName(name string) WorkerOption {
	return option(func(given *settings) error {
		if !utf8.ValidString(name) {
			return fmt.Errorf("the name %q must be UTF-8", name)
		}
		given.name = name
		return nil
	})
}

// WithGrace sets how long running calls may continue after a stop. Then their contexts end. 0: they end at once.
func WithGrace(grace time.Duration) HandlingOption {
	return option(func(given *settings) error {
		if grace < 0 {
			return fmt.Errorf("the grace period must not be negative, as %v is", grace)
		}
		given.grace = grace
		return nil
	})
}

// WithServerTLSFiles serves handlers with TLS by PEM files. They are read with each connection, as in WithTLSFiles.
func WithServerTLSFiles(files ServerTLSFiles) ServerOption {
	return option(func(given *settings) (err error) {
		given.serverCredentials, err = newServerCredentials(files, func() *slog.Logger { return given.logger })
		return err
	})
}

// WithServerOptions adds options of gRPC to a handler server, such as a stats handler of OpenTelemetry.
func WithServerOptions(options ...grpc.ServerOption) ServerOption {
	return option(func(given *settings) error {
		if slices.Contains(options, nil) {
			return errors.New("an option of gRPC is nil")
		}
		given.serverOptions = append(given.serverOptions, options...)
		return nil
	})
}

func (s *settings) setToken(token func(context.Context) (string, error)) error {
	if s.token != nil {
		return errors.New("a token is given twice: give one of WithToken, WithTokenFile and WithTokenSource")
	}
	s.token = token
	return nil
}

// checkToken refuses a token that cannot be sent. The error does not repeat it.
func checkToken(token string) error {
	if token == "" || strings.ContainsFunc(token, func(each rune) bool { return each < '!' || each > '~' }) {
		return errors.New("the token is empty or contains characters that a token cannot have")
	}
	return nil
}

// tokenFile is a file with a token, and the last usable token in it.
type tokenFile struct {
	path    string
	logger  func() *slog.Logger
	mutex   sync.Mutex
	last    string
	problem string
}

func (f *tokenFile) token(context.Context) (string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	current, err := f.read()
	if err == nil {
		f.last, f.problem = current, ""
	} else if err.Error() != f.problem {
		f.problem = err.Error()
		f.logger().Error("token_file_unusable", "action", "keep_last_token", "error", err)
	}
	return f.last, nil
}

// hasChanged returns whether the file has another token than when it was last read.
func (f *tokenFile) hasChanged() bool {
	f.mutex.Lock()
	last := f.last
	f.mutex.Unlock()
	current, _ := f.token(context.Background())
	return current != last
}

func (f *tokenFile) read() (string, error) {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("%s: %w", f.path, err)
	}
	return token, nil
}
