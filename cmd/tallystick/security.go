package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/store/log"
)

// How servers are spoken to, and who we are to them. Every flag has a variable
// of the environment beside it, as the addresses have. Secrets have no flag: a
// list of processes would show them. They come from a file or the environment.

// maxSecret bounds a file that holds a password: one that is greater is another.
const maxSecret = 4096

// secretFile is a file that holds a password. It is read once: it may be a pipe.
type secretFile struct {
	path string
	text string // what it holds; "" = not read yet
}

// or returns what the file holds, less its last line break, or, where no file is
// named, the variable's value. Messages name where it came from, never what. The
// first call must have returned before there are others at once.
func (s *secretFile) or(variable, flag string) (_ string, err error) {
	if s.path == "" {
		return os.Getenv(variable), nil
	}
	if s.text == "" {
		s.text, err = readSecret(flag, s.path)
	}
	return s.text, err
}

func readSecret(flag, path string) (string, error) {
	if err := checkReadable(flag, path); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", usagef("%s: %w", flag, told(path, "file", err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", usagef("%s: %w", flag, told(path, "file", err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case text == "":
		return "", usagef("%s: %s is empty", flag, path)
	case len(b) > maxSecret || strings.ContainsAny(text, "\n\x00"):
		return "", usagef("%s: %s does not hold a password: write it on one line, and nothing else", flag, path)
	}
	return text, nil
}

// onByEnv tells whether a variable turns something on.
func onByEnv(name string) bool { return slices.Contains([]string{"1", "true"}, os.Getenv(name)) }

// checkSwitch refuses a variable that may have been meant to turn something on: a
// password would go over the wire as it is.
func checkSwitch(name string) error {
	if v := os.Getenv(name); !slices.Contains([]string{"", "0", "false", "1", "true"}, v) {
		return usagef("%s: %q is neither 1 (or true) nor 0 (or false)", name, v)
	}
	return nil
}

// tlsFlags say whether a server is spoken to by TLS, and with which certificates.
type tlsFlags struct {
	server        string // as in the names of the flags
	on            bool
	ca, cert, key string // files
}

func (t *tlsFlags) add(cmd *cobra.Command, server, name string) {
	t.server = server
	f, env := cmd.Flags(), "TALLYSTICK_"+strings.ToUpper(server)
	f.BoolVar(&t.on, server+"-tls", onByEnv(env+"_TLS"), "speak TLS to "+name+" ($"+env+"_TLS=1)")
	f.StringVar(&t.ca, server+"-ca", os.Getenv(env+"_CA"), "`FILE` of the authorities that sign "+name+"'s certificate, PEM (default: the system's; $"+env+"_CA)")
	f.StringVar(&t.cert, server+"-cert", os.Getenv(env+"_CERT"), "`FILE` of this client's certificate for "+name+", PEM ($"+env+"_CERT)")
	f.StringVar(&t.key, server+"-key", os.Getenv(env+"_KEY"), "`FILE` of the certificate's private key, PEM ($"+env+"_KEY)")
}

// config returns what the flags ask for, nil for no TLS.
func (t *tlsFlags) config() (*tls.Config, error) {
	if !t.on {
		if err := checkSwitch("TALLYSTICK_" + strings.ToUpper(t.server) + "_TLS"); err != nil {
			return nil, err
		}
		for _, f := range []struct{ name, value string }{{"ca", t.ca}, {"cert", t.cert}, {"key", t.key}} {
			if f.value != "" {
				return nil, usagef("--%s-%s: it goes with --%s-tls: add that, or leave this out", t.server, f.name, t.server)
			}
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if c.RootCAs, err = authorities("--"+t.server+"-ca", t.ca); err != nil {
		return nil, err
	}
	if (t.cert == "") != (t.key == "") {
		have, lacks := "cert", "key"
		if t.cert == "" {
			have, lacks = lacks, have
		}
		return nil, usagef("--%s-%s: it goes with --%s-%s: add that, or leave this out", t.server, have, t.server, lacks)
	}
	if t.cert == "" {
		return c, nil
	}
	if err := cmp.Or(checkReadable("--"+t.server+"-cert", t.cert), checkReadable("--"+t.server+"-key", t.key)); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return nil, usagef("--%s-cert: %s and %s are no certificate with its private key: %w", t.server, t.cert, t.key, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// authorities reads certificates; without a file, nil = the system's.
func authorities(flag, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	if err := checkReadable(flag, path); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("%s: %w", flag, told(path, "file", err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimSpace(b)) {
		return nil, usagef("%s: %s holds no certificate in PEM form", flag, path)
	}
	return pool, nil
}

// kafkaSecurity says how Kafka is spoken to and who we are to it.
type kafkaSecurity struct {
	tls       tlsFlags
	mechanism string
	user      string
	password  secretFile
}

func (k *kafkaSecurity) add(cmd *cobra.Command) {
	k.tls.add(cmd, "kafka", "Kafka")
	f := cmd.Flags()
	f.StringVar(&k.mechanism, "kafka-sasl", os.Getenv("TALLYSTICK_KAFKA_SASL"), "SASL `MECHANISM`: "+strings.Join(log.Mechanisms(), ", ")+" ($TALLYSTICK_KAFKA_SASL)")
	f.StringVar(&k.user, "kafka-user", os.Getenv("TALLYSTICK_KAFKA_USER"), "SASL user `NAME` ($TALLYSTICK_KAFKA_USER)")
	f.StringVar(&k.password.path, "kafka-password-file", "", "`FILE` that holds the user's password, in the place of $TALLYSTICK_KAFKA_PASSWORD")
}

// apply adds what the flags ask for.
func (k *kafkaSecurity) apply(o *log.Options) (err error) {
	if o.TLS, err = k.tls.config(); err != nil {
		return err
	}
	if k.mechanism == "" {
		for _, f := range []struct{ name, value string }{{"kafka-user", k.user}, {"kafka-password-file", k.password.path}} {
			if f.value != "" {
				return usagef("--%s: it goes with --kafka-sasl: add that, or leave this out", f.name)
			}
		}
		return nil
	}
	mechanism := strings.ToLower(k.mechanism)
	if !slices.Contains(log.Mechanisms(), mechanism) {
		return usagef("--kafka-sasl: %q is no mechanism: it is one of %s", k.mechanism, strings.Join(log.Mechanisms(), ", "))
	}
	password, err := k.password.or("TALLYSTICK_KAFKA_PASSWORD", "--kafka-password-file")
	switch {
	case err != nil:
		return err
	case k.user == "":
		return usagef("--kafka-sasl: it needs a user: name one with --kafka-user")
	case password == "":
		return usagef("--kafka-sasl: it needs a password: set TALLYSTICK_KAFKA_PASSWORD, or name a file with --kafka-password-file")
	}
	o.SASL = &log.SASL{Mechanism: mechanism, User: k.user, Password: password}
	return nil
}

// registrySecurity says who we are to a Schema Registry, and whom we trust there.
type registrySecurity struct {
	user     string
	password secretFile
	ca       string // a file
}

func (r *registrySecurity) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.user, "registry-user", os.Getenv("TALLYSTICK_REGISTRY_USER"), "user `NAME` for the Schema Registry ($TALLYSTICK_REGISTRY_USER)")
	f.StringVar(&r.password.path, "registry-password-file", "", "`FILE` that holds the user's password, in the place of $TALLYSTICK_REGISTRY_PASSWORD")
	f.StringVar(&r.ca, "registry-ca", os.Getenv("TALLYSTICK_REGISTRY_CA"), "`FILE` of the authorities that sign the registry's certificate, PEM (default: the system's; $TALLYSTICK_REGISTRY_CA)")
}

// options are what the flags ask for.
func (r *registrySecurity) options() (opts []registry.Option, err error) {
	if r.user == "" && r.password.path != "" {
		return nil, usagef("--registry-password-file: it goes with --registry-user: add that, or leave this out")
	}
	if r.user != "" {
		password, err := r.password.or("TALLYSTICK_REGISTRY_PASSWORD", "--registry-password-file")
		if err == nil && password == "" {
			err = usagef("--registry-user: it needs a password: set TALLYSTICK_REGISTRY_PASSWORD, or name a file with --registry-password-file")
		}
		if err != nil {
			return nil, err
		}
		opts = append(opts, registry.WithBasicAuth(r.user, password))
	}
	pool, err := authorities("--registry-ca", r.ca)
	if pool == nil || err != nil {
		return opts, err
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the program's HTTP transport is not the standard library's")
	}
	transport = transport.Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	return append(opts, registry.WithHTTPClient(&http.Client{Timeout: 10 * time.Second, Transport: transport})), nil
}
