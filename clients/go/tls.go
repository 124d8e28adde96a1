package callback

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// TLSFiles are the PEM files of a client or worker.
type TLSFiles struct {
	// CA has the authorities to trust. Empty: those of the system.
	CA string
	// Cert has the certificate of the client, with its intermediate certificates. Empty: none.
	Cert string
	// Key has the private key of the certificate, without a password.
	Key string
	// ServerName is the name that the certificate of the server must have. Empty: the host of the target.
	ServerName string
}

// ServerTLSFiles are the PEM files of a handler server, and the Callback servers that it accepts.
type ServerTLSFiles struct {
	// Cert has the certificate of the server, with its intermediate certificates.
	Cert string
	// Key has the private key of the certificate, without a password.
	Key string
	// ClientCA has authorities. Every client must present a certificate of one of them. Empty: clients need none.
	ClientCA string
	// ClientNames are URIs or DNS names. One of them must be among the subject alternative names of the certificate of
	// the client, exactly. It requires ClientCA. Empty: every client with a certificate of these authorities.
	ClientNames []string
}

// reloading reads a TLS configuration again and again, and keeps the last usable one.
type reloading struct {
	read    func() (*tls.Config, error)
	logger  func() *slog.Logger
	mutex   sync.Mutex
	last    *tls.Config
	problem string
}

func newReloading(read func() (*tls.Config, error), logger func() *slog.Logger) (*reloading, error) {
	config, err := read()
	return &reloading{read: read, logger: logger, last: config}, err
}

func (r *reloading) config() *tls.Config {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	config, err := r.read()
	if err == nil {
		r.last, r.problem = config, ""
	} else if err.Error() != r.problem {
		r.problem = err.Error()
		r.logger().Error("tls_files_unusable", "action", "keep_last_files", "error", err)
	}
	return r.last
}

// hasChanged returns whether the files have another certificate or other authorities than when they were last read.
func (r *reloading) hasChanged() bool {
	r.mutex.Lock()
	last := r.last
	r.mutex.Unlock()
	current := r.config()
	return !current.RootCAs.Equal(last.RootCAs) || !slices.EqualFunc(current.Certificates, last.Certificates,
		func(one, other tls.Certificate) bool {
			return slices.EqualFunc(one.Certificate, other.Certificate, bytes.Equal)
		})
}

// fileCredentials are credentials of gRPC that read their files with each handshake.
type fileCredentials struct {
	credentials.TransportCredentials
	files *reloading
}

func newFileCredentials(given TLSFiles, logger func() *slog.Logger) (credentials.TransportCredentials, error) {
	if (given.Cert == "") != (given.Key == "") {
		return nil, errors.New("the files of certificate and key must be given together")
	}
	files, err := newReloading(func() (config *tls.Config, err error) {
		config = &tls.Config{ServerName: given.ServerName, MinVersion: tls.VersionTLS12}
		if config.RootCAs, err = readAuthorities(given.CA); err != nil {
			return nil, err
		}
		if given.Cert != "" {
			if config.Certificates, err = readCertificate(given.Cert, given.Key); err != nil {
				return nil, err
			}
		}
		return config, nil
	}, logger)
	if err != nil {
		return nil, err
	}
	return &fileCredentials{TransportCredentials: credentials.NewTLS(files.last), files: files}, nil
}

func (c *fileCredentials) ClientHandshake(
	ctx context.Context, authority string, connection net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(c.files.config()).ClientHandshake(ctx, authority, connection)
}

func (c *fileCredentials) Clone() credentials.TransportCredentials {
	return &fileCredentials{TransportCredentials: c.TransportCredentials.Clone(), files: c.files}
}

func newServerCredentials(given ServerTLSFiles, logger func() *slog.Logger) (credentials.TransportCredentials, error) {
	if len(given.ClientNames) > 0 && given.ClientCA == "" {
		return nil, errors.New("names of clients require their authorities: without these, clients present no certificate")
	}
	files, err := newReloading(func() (config *tls.Config, err error) {
		config = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
		if config.Certificates, err = readCertificate(given.Cert, given.Key); err != nil {
			return nil, err
		}
		if given.ClientCA != "" {
			config.ClientAuth = tls.RequireAndVerifyClientCert
			if config.ClientCAs, err = readAuthorities(given.ClientCA); err != nil {
				return nil, err
			}
		}
		if len(given.ClientNames) > 0 {
			config.VerifyConnection = func(state tls.ConnectionState) error {
				return checkClientName(state.PeerCertificates[0], given.ClientNames)
			}
		}
		return config, nil
	}, logger)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.config(), nil },
	}), nil
}

func checkClientName(certificate *x509.Certificate, accepted []string) error {
	names := slices.Clone(certificate.DNSNames)
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	for _, name := range names {
		if slices.Contains(accepted, name) {
			return nil
		}
	}
	return fmt.Errorf("the certificate has none of the accepted names, but %q", names)
}

func readAuthorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // those of the system
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) || !isWhole(content) {
		return nil, fmt.Errorf("%s: no usable PEM content", file)
	}
	return pool, nil
}

// isWhole returns whether no block is cut off. The packages of Go leave such a block out.
func isWhole(content []byte) bool {
	begun := bytes.Count(content, []byte("-----BEGIN "))
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		begun--
	}
	return begun == 0
}

func readCertificate(certificate, key string) ([]tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", certificate, key, err)
	}
	if ended := pair.Leaf.NotAfter; !time.Now().Before(ended) {
		return nil, fmt.Errorf("%s: the certificate expired on %s: renew it", certificate, ended.UTC().Format(time.DateOnly))
	}
	return []tls.Certificate{pair}, nil
}
