package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tallystick/tallystick/integration/testbed"
)

// secrets are what no output may show, each of its own kind.
var secrets = map[string]string{"kafka": "s3cret-Kafka", "redis": "s3cret-Redis", "registry": "s3cret-Registry", "url": "s3cret-Url", "sentinel": "s3cret-Sentinel"}

// secured is a Kafka and a Redis that speak TLS to clients with a certificate and
// want a user and a password.
type secured struct {
	file         string // a definition over them
	certs        *testbed.Certificates
	kafka, redis []string // flags that reach them
}

const securedUser = "feature-worker"

func newSecured(t *testing.T, mechanism string) *secured {
	t.Helper()
	certs := testbed.NewCertificates(t)
	cluster := testbed.Kafka(t, kfake.TLS(certs.Server), kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), securedUser, secrets["kafka"]))
	redis := testbed.RedisTLS(t, certs.Server)
	redis.RequireUserAuth(securedUser, secrets["redis"])
	s := &secured{file: initialised(t), certs: certs}
	s.kafka = []string{"-f", s.file, "--brokers", strings.Join(cluster.ListenAddrs(), ","), "--kafka-tls", "--kafka-ca", certs.CA, "--kafka-cert", certs.Cert, "--kafka-key", certs.Key,
		"--kafka-sasl", mechanism, "--kafka-user", securedUser, "--kafka-password-file", written(t, "kafka.password", secrets["kafka"]+"\n")}
	s.redis = []string{"--redis", redis.Addr(), "--redis-tls", "--redis-ca", certs.CA, "--redis-cert", certs.Cert, "--redis-key", certs.Key,
		"--redis-username", securedUser, "--redis-password-file", written(t, "redis.password", secrets["redis"])}
	return s
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every SASL mechanism over TLS with certificates on both sides: events are
// filled in, streamed and read.
func TestSecuredServers(t *testing.T) {
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		s := newSecured(t, mechanism)
		tally(t, exitOK, append([]string{"fill", "--events", "300"}, s.kafka...)...)
		out, errs := tally(t, exitOK, slices.Concat([]string{"stream", "--until", "end", "--json", "--log", "json"}, s.kafka, s.redis)...)
		checkSecrets(t, mechanism, out+errs)
		if !strings.Contains(out, `"applied": `) || strings.Contains(out, `"read": 0,`) {
			t.Errorf("%s: %s", mechanism, out)
		}
	}
}

// A password may come from a pipe, which can be read once, as a shell's <(command)
// does; from one that never ends it is refused.
func TestSecretFromPipe(t *testing.T) {
	s := newSecured(t, "plain")
	tally(t, exitOK, append([]string{"fill", "--events", "10"}, s.kafka...)...)
	piped := func(args []string, secret string) []string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if _, err := w.WriteString(secret); err != nil {
			t.Fatal(err)
		}
		w.Close()
		return append(slices.Clone(args[:len(args)-1]), fmt.Sprintf("/dev/fd/%d", r.Fd()))
	}
	tally(t, exitOK, slices.Concat([]string{"stream", "--until", "end"}, piped(s.kafka, secrets["kafka"]), piped(s.redis, secrets["redis"]))...)
	_, errs := tally(t, exitUsage, slices.Concat([]string{"stream", "--until", "end"}, s.kafka, s.redis[:len(s.redis)-1], []string{"/dev/zero"})...)
	if !strings.Contains(errs, "does not hold a password") {
		t.Error(errs)
	}
}

// The environment takes the place of every flag.
func TestSecuredByEnvironment(t *testing.T) {
	s := newSecured(t, "plain")
	for name, value := range map[string]string{
		"TALLYSTICK_KAFKA_TLS": "1", "TALLYSTICK_KAFKA_CA": s.certs.CA, "TALLYSTICK_KAFKA_CERT": s.certs.Cert, "TALLYSTICK_KAFKA_KEY": s.certs.Key,
		"TALLYSTICK_KAFKA_SASL": "PLAIN", "TALLYSTICK_KAFKA_USER": securedUser, "TALLYSTICK_KAFKA_PASSWORD": secrets["kafka"],
		"TALLYSTICK_REDIS_TLS": "true", "TALLYSTICK_REDIS_CA": s.certs.CA, "TALLYSTICK_REDIS_CERT": s.certs.Cert, "TALLYSTICK_REDIS_KEY": s.certs.Key,
		"TALLYSTICK_REDIS_USERNAME": securedUser, "TALLYSTICK_REDIS_PASSWORD": secrets["redis"],
	} {
		t.Setenv(name, value)
	}
	tally(t, exitOK, append([]string{"fill", "--events", "300"}, s.kafka[:4]...)...)
	tally(t, exitOK, slices.Concat([]string{"stream", "--until", "end"}, s.kafka[:4], s.redis[:2])...)
}

// A variable that may have been meant to turn TLS on does not leave it off.
func TestTLSByEnvironmentIsAskedForPlainly(t *testing.T) {
	s := newSecured(t, "plain")
	t.Setenv("TALLYSTICK_REDIS_TLS", "yes")
	args := append([]string{"get", "customers", "customer=c001"}, without(s.redis, "--redis-tls", "--redis-ca", "--redis-cert", "--redis-key")...)
	out, errs := tally(t, exitUsage, args...)
	if !strings.Contains(errs, `TALLYSTICK_REDIS_TLS: "yes" is neither 1 (or true) nor 0 (or false)`) {
		t.Errorf("%s%s", out, errs)
	}
}

// What servers and files can refuse is said in one sentence, which names the flag
// to look at and never what is secret.
func TestRefusedSecurity(t *testing.T) {
	s, other := newSecured(t, "scram-sha-256"), testbed.NewCertificates(t)
	plainKafka, plainRedis := testbed.Kafka(t), testbed.Redis(t)
	tally(t, exitOK, append([]string{"fill", "--events", "10"}, s.kafka...)...)
	wrong := written(t, "wrong", secrets["url"])
	garbage := written(t, "garbage.pem", secrets["url"]+"\nand more\n")
	cases := []struct {
		name, want string
		args       []string
	}{
		{"Kafka without TLS", "check --kafka-tls", without(s.kafka, "--kafka-tls", "--kafka-ca", "--kafka-cert", "--kafka-key")},
		{"TLS to a Kafka without", "whether it speaks TLS there", with(s.kafka, "--brokers", plainKafka.ListenAddrs()[0])},
		{"Kafka of another authority", "--kafka-ca", with(s.kafka, "--kafka-ca", other.CA)},
		{"a certificate of another authority", "--kafka-cert", with(with(s.kafka, "--kafka-cert", other.Cert), "--kafka-key", other.Key)},
		{"no certificate for Kafka", "--kafka-cert", without(s.kafka, "--kafka-cert", "--kafka-key")},
		{"Kafka's password", "--kafka-sasl", with(s.kafka, "--kafka-password-file", wrong)},
		{"Kafka's mechanism", "--kafka-sasl", with(s.kafka, "--kafka-sasl", "plain")},
		{"no SASL", "--kafka-sasl", without(s.kafka, "--kafka-sasl", "--kafka-user", "--kafka-password-file")},
		{"Redis without TLS", "check --redis-tls", without(s.redis, "--redis-tls", "--redis-ca", "--redis-cert", "--redis-key")},
		{"TLS to a Redis without", "check --redis-tls", with(s.redis, "--redis", plainRedis.Addr())},
		{"Redis of another authority", "--redis-ca", with(s.redis, "--redis-ca", other.CA)},
		{"no certificate for Redis", "--redis-cert", without(s.redis, "--redis-cert", "--redis-key")},
		{"Redis' password", "--redis-password-file", with(s.redis, "--redis-password-file", wrong)},
		{"Redis without a user", "--redis-password-file", without(s.redis, "--redis-username", "--redis-password-file")},
		{"a URL for Redis", "--redis: it holds a user or password", with(s.redis, "--redis", "redis://:"+secrets["url"]+"@127.0.0.1:6379")},
		{"a user in the brokers", "--brokers: it holds a user or password", with(s.kafka, "--brokers", "me:"+secrets["url"]+"@127.0.0.1:9092")},
		{"CA without TLS", "--kafka-ca: it goes with --kafka-tls", without(s.kafka, "--kafka-tls")},
		{"key without certificate", "--redis-key: it goes with --redis-cert", without(s.redis, "--redis-cert")},
		{"certificate without key", "--kafka-cert: it goes with --kafka-key", without(s.kafka, "--kafka-key")},
		{"no certificate in the file", "--redis-ca: " + garbage + " holds no certificate", with(s.redis, "--redis-ca", garbage)},
		{"key that is none", "no certificate with its private key", with(s.kafka, "--kafka-key", garbage)},
		{"key of another", "no certificate with its private key", with(s.kafka, "--kafka-key", other.Key)},
		{"user without SASL", "--kafka-user: it goes with --kafka-sasl", without(s.kafka, "--kafka-sasl")},
		{"SASL without user", "--kafka-sasl: it needs a user", without(s.kafka, "--kafka-user")},
		{"SASL without password", "--kafka-sasl: it needs a password", without(s.kafka, "--kafka-password-file")},
		{"unknown mechanism", "is no mechanism", with(s.kafka, "--kafka-sasl", "gssapi")},
		{"password of two lines", "does not hold a password", with(s.kafka, "--kafka-password-file", garbage)},
		{"empty password", "is empty", with(s.redis, "--redis-password-file", written(t, "empty", "\n"))},
		{"no such file", "there is no file", with(s.redis, "--redis-password-file", filepath.Join(t.TempDir(), "none"))},
		{"Redis user without password", "--redis-username: it needs a password", without(s.redis, "--redis-password-file")},
		{"Sentinel's password without Sentinels", "--redis-sentinel-password-file: it goes with", append([]string{"--redis-sentinel-password-file", wrong}, s.redis...)},
		{"registry user without password", "--registry-user: it needs a password", append([]string{"--registry-user", "me"}, s.kafka...)},
		{"registry password without user", "--registry-password-file: it goes with", append([]string{"--registry-password-file", wrong}, s.kafka...)},
		{"registry is no URL", "is not a URL", append([]string{"--registry", "me:" + secrets["url"] + "@host"}, s.kafka...)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // some wait for an answer that does not come
			args := slices.Concat([]string{"stream", "--until", "end"}, c.args, s.redis)
			if slices.Contains(c.args, "--redis") {
				args = slices.Concat([]string{"stream", "--until", "end"}, c.args, s.kafka)
			}
			var out bytes.Buffer
			code := run(t.Context(), args, &out, &out)
			text := out.String()
			if code == exitOK || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
				t.Errorf("exit %d, want %q:\n%s", code, c.want, text)
			}
			checkSecrets(t, c.name, text)
		})
	}
}

// A registry gets the user and password that the flags name, in the place of those
// in its URL; what it refuses is told without them.
func TestSecuredRegistry(t *testing.T) {
	file, kafka := initialised(t), testbed.Kafka(t)
	log := []string{"-f", file, "--brokers", kafka.ListenAddrs()[0]}
	tally(t, exitOK, append([]string{"fill", "--events", "10"}, log...)...)
	seen := ""
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, _, _ = r.BasicAuth()
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(registry.Close)
	url := strings.Replace(registry.URL, "://", "://of-the-url:"+secrets["url"]+"@", 1)
	for user, flags := range map[string][]string{
		"of-the-url":  nil,
		"of-the-flag": {"--registry-user", "of-the-flag", "--registry-password-file", written(t, "registry", secrets["registry"])},
	} {
		_, errs := tally(t, exitFailed, slices.Concat([]string{"replay", "--registry", url}, log, flags)...)
		if seen != user || !strings.Contains(errs, "that may read schemas") {
			t.Errorf("the registry met user %q, want %q: %s", seen, user, errs)
		}
		checkSecrets(t, user, errs)
	}
}

// checkSecrets: an output shows no secret, not even in base64 or a part of a URL.
func checkSecrets(t *testing.T, what, text string) {
	t.Helper()
	if i := strings.Index(text, "s3cret"); i >= 0 {
		t.Errorf("%s shows a secret: %s", what, text)
	}
}

// with replaces the value of a flag, without takes flags out.
func with(args []string, flag, value string) []string {
	out := slices.Clone(args)
	out[slices.Index(out, flag)+1] = value
	return out
}

func without(args []string, flags ...string) (out []string) {
	for i := 0; i < len(args); i++ {
		if !slices.Contains(flags, args[i]) {
			out = append(out, args[i])
		} else if !strings.HasSuffix(args[i], "-tls") {
			i++
		}
	}
	return out
}

// No help shows what the environment holds of secrets, and a definition that has
// one in its registry's URL is refused without repeating it.
func TestSecretsAreNotShown(t *testing.T) {
	for name, value := range map[string]string{"TALLYSTICK_REGISTRY": "https://me:" + secrets["url"] + "@registry:8081", "TALLYSTICK_KAFKA_PASSWORD": secrets["kafka"],
		"TALLYSTICK_REDIS_PASSWORD": secrets["redis"], "TALLYSTICK_SENTINEL_PASSWORD": secrets["sentinel"], "TALLYSTICK_REGISTRY_PASSWORD": secrets["registry"]} {
		t.Setenv(name, value)
	}
	for _, c := range allCommands(newRoot()) {
		out, _ := tally(t, exitOK, append(strings.Fields(named(c)), "--help")...)
		checkSecrets(t, c.Name()+" --help", out)
	}
	file := initialised(t)
	for _, url := range []string{"https://me:" + secrets["url"] + "@registry", "me:" + secrets["url"] + "@registry"} {
		edit(t, file, "\n    schema: ", "\n    writers: {registry: \""+url+"\"}\n    schema: ")
		_, errs := tally(t, exitUsage, "check", "-f", file)
		checkSecrets(t, "check", errs)
		if !strings.Contains(errs, "--registry-user") {
			t.Error(errs)
		}
		edit(t, file, "\n    writers: {registry: \""+url+"\"}\n    schema: ", "\n    schema: ")
	}
}
