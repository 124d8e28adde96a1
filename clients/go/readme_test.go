package callback_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"callback.example/callback"
)

var (
	goBlock    = regexp.MustCompile("(?s)```go\n(.*?)```")
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	plainBlock = regexp.MustCompile("(?s)```\n(closed: .*?)```")
)

// shop is the module that the README writes.
type shop struct {
	t         *testing.T
	directory string
}

// newShop follows the README, up to where its programs run.
func newShop(t *testing.T) *shop {
	t.Helper()
	readme := string(got(os.ReadFile("README.md"))(t))
	shell := shellBlock.FindAllStringSubmatch(readme, -1)
	repository := got(filepath.Abs("../.."))(t)
	setup := strings.Replace(shell[0][1], "CALLBACK=~/callback", "CALLBACK="+repository, 1)
	parent := t.TempDir()
	shop := &shop{t: t, directory: parent}
	shop.run("sh", "-ec", setup)
	shop.directory = filepath.Join(parent, "shop")
	order := fmt.Sprintf("o%06d", rand.IntN(1e6)) // as long as the one of the README, for gofmt
	for _, block := range goBlock.FindAllStringSubmatch(readme, -1) {
		first, _, _ := strings.Cut(block[1], "\n")
		name, hasName := strings.CutPrefix(first, "// ")
		if !hasName || !strings.HasSuffix(name, ".go") {
			t.Fatalf("a snippet of the README names no file, so nothing runs it: %s", first)
		}
		code := strings.ReplaceAll(block[1], "callback.DefaultTarget", `"`+system.Target+`"`)
		code = strings.Replace(code, "order-5", order, 1) // another one with each run, because the system is the same
		path := filepath.Join(shop.directory, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(code), 0o600))
	}
	return shop
}

// in returns the same module for a subtest.
func (s *shop) in(t *testing.T) *shop { return &shop{t: t, directory: s.directory} }

// run runs a program to its end, and returns what it prints.
func (s *shop) run(name string, arguments ...string) string {
	s.t.Helper()
	command := exec.Command(name, arguments...)
	command.Dir = s.directory
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s%s", name, arguments, err, output.String(), problems.String())
	}
	return output.String()
}

// start starts a worker of the README, and waits until it is connected. It stops at the end of the test, as at SIGTERM.
func (s *shop) start(name string) {
	s.t.Helper()
	log := &logLines{}
	command := exec.Command(filepath.Join(s.directory, "bin", name))
	command.Stderr = log
	must(s.t, command.Start())
	s.t.Cleanup(func() {
		must(s.t, command.Process.Signal(syscall.SIGTERM))
		if err := command.Wait(); err != nil {
			s.t.Errorf("%s: %v\n%s", name, err, log)
		}
	})
	until(s.t, func() bool { return strings.Contains(log.String(), "worker_connected") })
}

func TestEachSnippetOfTheReadmeRuns(t *testing.T) {
	shop := newShop(t)
	address := fmt.Sprintf("127.%d.%d.%d:8000", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)) // nobody else's
	web := filepath.Join(shop.directory, "web", "main.go")
	code := string(got(os.ReadFile(web))(t))
	must(t, os.WriteFile(web, []byte(strings.Replace(code, "127.0.0.1:8000", address, 1)), 0o600))

	shop.run("go", "mod", "tidy")
	if unformatted := shop.run("gofmt", "-l", "."); unformatted != "" {
		t.Fatal(unformatted)
	}
	// With the race detector, because the packages are then compiled already, for these tests.
	shop.run("go", "build", "-race", "-ldflags=-s -w", "-o", "bin/", "./handler", "./generate", "./raw", "./web", "./tour")

	t.Run("a handled callback", func(t *testing.T) {
		shop := shop.in(t)
		shop.start("handler")
		url := strings.TrimSpace(shop.run("bin/generate"))
		if again := strings.TrimSpace(shop.run("bin/generate")); again != url {
			t.Fatal("another URL for the same order")
		}
		if reply := visit(t, url+"?status=open"); reply.status != 400 || reply.body != "not paid" {
			t.Fatal(reply)
		}
		if reply := visit(t, url+"?status=paid"); reply.status != 302 || reply.location != "https://shop.example/thankyou" {
			t.Fatal(reply)
		}
	})
	t.Run("the stubs beside the client", func(t *testing.T) {
		if printed := shop.in(t).run("bin/raw"); printed != "client "+callback.Version+" activities true\n" {
			t.Fatal(printed)
		}
	})
	t.Run("a tour", func(t *testing.T) {
		shop := shop.in(t)
		want := plainBlock.FindStringSubmatch(string(got(os.ReadFile("README.md"))(t)))[1]
		if printed := shop.run("bin/tour"); printed != want {
			t.Fatal(printed)
		}
	})
	t.Run("a web server", func(t *testing.T) {
		shop := shop.in(t)
		shop.start("web")
		until(t, func() bool {
			reply, err := http.Get("http://" + address + "/ready")
			if err == nil {
				_ = reply.Body.Close()
			}
			return err == nil && reply.StatusCode == 200
		})
		stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		reply := replyOf(stay.Post(fmt.Sprintf("http://%s/orders/%d/pay", address, rand.Uint64()), "", nil))(t)
		bank := got(url.Parse(reply.location))(t)
		made := bank.Query().Get("return")
		if bank.Host != "bank.example" || reply.status != 303 || strings.Contains(bank.RawQuery, made) { // it is escaped
			t.Fatal(reply)
		}
		if reply := visit(t, made+"?status=paid"); reply.location != "https://shop.example/thankyou" {
			t.Fatal(reply)
		}
	})
	t.Run("a test", func(t *testing.T) { shop.in(t).run("go", "test", "-race", "./...") })
}

func TestTheVersionInTheReadmeIsThatOfTheModule(t *testing.T) {
	if readme := string(got(os.ReadFile("README.md"))(t)); !strings.Contains(readme, "callback.example/callback@v"+callback.Version+" ") {
		t.Fatal(callback.Version)
	}
}
