package callback_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"callback.example/callback"
	v1 "callback.example/callback/v1"
)

// authority is a certificate authority with its files.
type authority struct {
	t           *testing.T
	directory   string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// file has its certificate.
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	result := &authority{t: t, directory: t.TempDir()}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	result.certificate, result.key = result.sign(template)
	result.file = result.write("ca.pem", "CERTIFICATE", result.certificate.Raw)
	return result
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key := got(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(a.t)
	template.SerialNumber = got(rand.Int(rand.Reader, big.NewInt(1<<62)))(a.t)
	template.Subject = pkix.Name{CommonName: "test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der := got(x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer))(a.t)
	return got(x509.ParseCertificate(der))(a.t), key
}

// issue writes a certificate for names, and its key.
func (a *authority) issue(name string, names ...string) (certificateFile, keyFile string) {
	a.t.Helper()
	certificate, key := a.sign(&x509.Certificate{DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	encoded := got(x509.MarshalECPrivateKey(key))(a.t)
	return a.write(name+".pem", "CERTIFICATE", certificate.Raw), a.write(name+".key", "EC PRIVATE KEY", encoded)
}

func (a *authority) write(name, kind string, content []byte) string {
	a.t.Helper()
	path := filepath.Join(a.directory, name)
	must(a.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
	return path
}

func TestAClientTrustsTheAuthorityInItsFiles(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	certificate, key := ours.issue("server", "localhost")
	owner := &scriptedOwner{}
	target := serveGRPC(t, func(server *grpc.Server) { v1.RegisterCallbacksServiceServer(server, owner) },
		grpc.Creds(got(credentials.NewServerTLSFromFile(certificate, key))(t)))
	request := func(files callback.TLSFiles) error {
		client := got(callback.NewClient(target, callback.WithTLSFiles(files), callback.WithoutRetries()))(t)
		defer func() { must(t, client.Close()) }()
		return ignore(client.GenerateCallbackURL(t.Context(), "record", callback.Text("")))
	}
	must(t, request(callback.TLSFiles{CA: ours.file}))
	must(t, request(callback.TLSFiles{CA: ours.file, ServerName: "localhost"}))
	for name, files := range map[string]callback.TLSFiles{
		"another authority": {CA: others.file},
		"another name":      {CA: ours.file, ServerName: "other.example"},
	} {
		if err := request(files); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Error(name, err)
		}
	}

	// A new file takes effect with the next connection. Meanwhile a file that is not usable changes nothing.
	log, file := &logLines{}, filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, got(os.ReadFile(others.file))(t), 0o600))
	client := got(callback.NewClient(target, callback.WithTLSFiles(callback.TLSFiles{CA: file}), log.option()))(t)
	defer func() { must(t, client.Close()) }()
	must(t, os.WriteFile(file, []byte("broken"), 0o600))
	until(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := client.GenerateCallbackURL(ctx, "record", callback.Text("")); err == nil {
			t.Fatal("a server of another authority was accepted")
		}
		return strings.Contains(log.String(), "tls_files_unusable")
	})
	must(t, os.WriteFile(file, got(os.ReadFile(ours.file))(t), 0o600))
	must(t, ignore(client.GenerateCallbackURL(t.Context(), "record", callback.Text(""))))
}

// ownerAt serves owners with a certificate, or without TLS. It counts the requests.
func ownerAt(t *testing.T, certificate, key string) (owner *scriptedOwner, port string, stop func()) {
	t.Helper()
	var options []grpc.ServerOption
	if certificate != "" {
		options = append(options, grpc.Creds(got(credentials.NewServerTLSFromFile(certificate, key))(t)))
	}
	owner = &scriptedOwner{}
	listener, server := got(net.Listen("tcp", "127.0.0.1:0"))(t), grpc.NewServer(options...)
	v1.RegisterCallbacksServiceServer(server, owner)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return owner, port, server.Stop
}

func TestAClientUsesTheFirstServerOfItsTargetThatItCanReach(t *testing.T) {
	one, portOfOne, stopOne := ownerAt(t, "", "")
	other, portOfOther, _ := ownerAt(t, "", "")
	var client *callback.Client
	until(t, func() bool { // gRPC tries the next server, too, if a connection takes 250 ms, as on a busy machine
		client = got(callback.NewClient("localhost:1,127.0.0.1:" + portOfOne + ",localhost:" + portOfOther))(t)
		t.Cleanup(func() { must(t, client.Close()) })
		must(t, ignore(client.GenerateCallbackURL(t.Context(), "record", callback.Text(""))))
		return len(one.ids()) == 1
	})
	before := len(other.ids())
	stopOne()
	must(t, ignore(client.GenerateCallbackURL(t.Context(), "record", callback.Text(""))))
	if len(other.ids()) != before+1 {
		t.Fatal(before, other.ids())
	}
}

func TestAClientFollowsItsNamesToOtherAddresses(t *testing.T) {
	for _, target := range []string{"one.test:%s,two.test:%s", "one.test:%s", "dns:///one.test:%s"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			before, port, _ := ownerAt(t, "", "")
			after := &scriptedOwner{}
			listener, server := got(net.Listen("tcp", "127.0.0.4:"+port))(t), grpc.NewServer()
			v1.RegisterCallbacksServiceServer(server, after)
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(server.Stop)
			prefix := rand.Text() + "-"
			for _, name := range []string{"one.test", "two.test"} {
				callback.Names.Store(prefix+name, []string{"127.0.0.1"})
			}
			target := strings.NewReplacer("%s", port, "one.test", prefix+"one.test", "two.test", prefix+"two.test").Replace(target)
			client := got(callback.NewClient(target))(t)
			t.Cleanup(func() { must(t, client.Close()) })
			request := func() { must(t, ignore(client.GenerateCallbackURL(t.Context(), "record", callback.Text("")))) }
			request()
			if len(before.ids()) != 1 {
				t.Fatal(before.ids())
			}
			for _, name := range []string{"one.test", "two.test"} {
				callback.Names.Store(prefix+name, []string{"127.0.0.4"})
			}
			until(t, func() bool { request(); return len(after.ids()) > 0 })
		})
	}
}

func TestTheCertificateOfEachServerOfATargetIsCheckedForItsHost(t *testing.T) {
	ours := newAuthority(t)
	certificate, key := ours.issue("one", "localhost")
	_, portOfOne, stopOne := ownerAt(t, certificate, key)
	certificate, key = ours.issue("other", "other.example") // and 127.0.0.1, as every certificate here
	_, portOfOther, _ := ownerAt(t, certificate, key)
	request := func(client *callback.Client) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return ignore(client.GenerateCallbackURL(ctx, "record", callback.Text("")))
	}
	connect := func(target, name string, options ...callback.ClientOption) *callback.Client {
		files := callback.WithTLSFiles(callback.TLSFiles{CA: ours.file, ServerName: name})
		client := got(callback.NewClient(target, append(options, files)...))(t)
		t.Cleanup(func() { must(t, client.Close()) })
		return client
	}
	client := connect("localhost:"+portOfOne+",127.0.0.1:"+portOfOther, "")
	must(t, request(client))
	stopOne()
	must(t, request(client))
	must(t, request(connect("ipv4:127.0.0.1:1,127.0.0.1:"+portOfOther, "")))
	must(t, request(connect("localhost:1,localhost:"+portOfOther, "other.example"))) // one name for all
	pool := x509.NewCertPool()
	pool.AddCert(ours.certificate)
	configured := callback.WithTLS(&tls.Config{RootCAs: pool, ServerName: "other.example"})
	inCode := got(callback.NewClient("localhost:1,localhost:"+portOfOther, configured))(t)
	defer func() { must(t, inCode.Close()) }()
	must(t, request(inCode))
	err := request(connect("localhost:1,localhost:"+portOfOther, "", callback.WithoutRetries()))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatal(err)
	}
}

func TestAHandlerServerAcceptsOnlyClientsWithCertainNames(t *testing.T) {
	ours := newAuthority(t)
	certificate, key := ours.issue("handlers", "handlers.example")
	var handlers callback.Handlers
	handlers.Handle("a", accepting)
	listener := got(net.Listen("tcp", "127.0.0.1:0"))(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- callback.Serve(ctx, listener, &handlers, callback.WithServerTLSFiles(callback.ServerTLSFiles{
			Cert: certificate, Key: key, ClientCA: ours.file, ClientNames: []string{"server.example"},
		}))
	}()
	handle := func(name string) error {
		certificate, key := ours.issue("client", name)
		pool := x509.NewCertPool()
		pool.AddCert(ours.certificate)
		connection := got(grpc.NewClient(listener.Addr().String(), clientTLS(t, certificate, key, pool)))(t)
		defer func() { must(t, connection.Close()) }()
		request := &v1.HandleCallbackRequest{CallbackActivity: "a"}
		return ignore(v1.NewCallbackHandlerServiceClient(connection).HandleCallback(t.Context(), request))
	}
	must(t, handle("server.example"))
	if err := handle("other.example"); err == nil {
		t.Fatal("a client with another name was accepted")
	}
	stop()
	must(t, receive(t, ended))
}

func TestFilesThatCannotBeUsedAreRefused(t *testing.T) {
	ours := newAuthority(t)
	certificate, _ := ours.issue("one")
	_, key := ours.issue("two")
	for name, files := range map[string]callback.TLSFiles{
		"no file":       {CA: filepath.Join(t.TempDir(), "none.pem")},
		"no content":    {CA: key},
		"no key":        {Cert: certificate},
		"different key": {Cert: certificate, Key: key},
	} {
		if _, err := callback.NewClient("127.0.0.1:1", callback.WithTLSFiles(files)); err == nil {
			t.Error(name)
		}
	}
	if _, err := callback.NewClient("127.0.0.1:1", callback.WithTokenFile(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("no token file")
	}
}

func TestATokenWithoutTLSToAnotherMachineIsLogged(t *testing.T) {
	for target, isLogged := range map[string]bool{
		"callback:50051": true, "dns:///callback:50051": true, "10.0.0.1:1": true,
		"127.0.0.1:50051": false, "localhost:1": false, "[::1]:1": false, "unix:/run/callback.sock": false,
		"ipv4:127.0.0.1:1,127.0.0.2:1": false, "ipv4:127.0.0.1:1,10.0.0.2:1": true,
		"localhost:1,[::1]:2": false, "localhost:1,callback:1": true,
	} {
		log := &logLines{}
		client, err := callback.NewClient(target, callback.WithToken("secret"), log.option())
		must(t, err)
		must(t, client.Close())
		if strings.Contains(log.String(), "token_sent_in_plain_text") != isLogged || strings.Contains(log.String(), "secret") {
			t.Error(target, log)
		}
	}
	for _, target := range []string{
		"", "callback", "callback:", ":50051", "callback:0", "callback:65536", "dns:///callback", "ipv4:127.0.0.1",
		"a:1,", "a:1,b", "a:1, b:1", "dns:///a:1,b:1",
	} {
		if _, err := callback.NewClient(target); err == nil {
			t.Error(target)
		}
	}
}

func TestTheErrorOfATargetThatSpeaksSomethingElseHasAdvice(t *testing.T) {
	ours := newAuthority(t)
	_, plain, _ := ownerAt(t, "", "")
	certificate, key := ours.issue("server", "localhost")
	_, encrypted, _ := ownerAt(t, certificate, key)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	withTLS := callback.WithTLSFiles(callback.TLSFiles{CA: ours.file})
	for _, each := range []struct {
		target, advice string
		options        []callback.ClientOption
	}{
		{web.Listener.Addr().String(), "use the gRPC port of the server", nil},
		{"127.0.0.1:" + plain, "the server does not use TLS", []callback.ClientOption{withTLS}},
		{"127.0.0.1:" + encrypted, "if this one does, connect with TLS", nil},
	} {
		client := got(callback.NewClient(each.target, append(each.options, callback.WithoutRetries())...))(t)
		defer func() { _ = client.Close() }()
		_, err := client.GetCallback(t.Context(), strings.Repeat("0", 32))
		if !errors.Is(err, callback.ErrUnavailable) || !strings.Contains(err.Error(), each.advice) {
			t.Error(err)
		}
	}
}

func TestAClientWithTLSGetsNoAdviceToUseIt(t *testing.T) {
	ours := newAuthority(t)
	pair := got(tls.LoadX509KeyPair(ours.issue("server", "localhost")))(t)
	settings := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}
	closing := got(tls.Listen("tcp", "127.0.0.1:0", settings))(t)
	defer func() { _ = closing.Close() }()
	go func() {
		for {
			accepted, err := closing.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(accepted, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))) // then the client waits for that of the server
			_ = accepted.Close()
		}
	}()
	client := got(callback.NewClient(closing.Addr().String(), callback.WithoutRetries(),
		callback.WithTLSFiles(callback.TLSFiles{CA: ours.file})))(t)
	defer func() { must(t, client.Close()) }()
	_, err := client.GetCallback(t.Context(), strings.Repeat("0", 32))
	if err == nil || !strings.Contains(err.Error(), "server preface") || strings.Contains(err.Error(), "connect with TLS") {
		t.Error(err)
	}
}

func TestACertificateThatHasExpiredIsRefusedAtTheStart(t *testing.T) {
	ours := newAuthority(t)
	key := got(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	ended := time.Now().Add(-48 * time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: ended.Add(-time.Hour), NotAfter: ended}
	old := got(x509.CreateCertificate(rand.Reader, template, ours.certificate, &key.PublicKey, ours.key))(t)
	certificate := ours.write("old.pem", "CERTIFICATE", old)
	keyFile := ours.write("old.key", "EC PRIVATE KEY", got(x509.MarshalECPrivateKey(key))(t))
	want := "old.pem: the certificate expired on " + ended.UTC().Format(time.DateOnly) + ": renew it"
	_, err := callback.NewClient("localhost:1", callback.WithTLSFiles(
		callback.TLSFiles{CA: ours.file, Cert: certificate, Key: keyFile}))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}
