package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// SASL is a user, its password and how it is told to a broker.
type SASL struct {
	// Mechanism is one of Mechanisms. PLAIN sends the password as it is: only
	// TLS keeps others from reading it.
	Mechanism      string
	User, Password string
}

// Mechanisms lists the SASL mechanisms.
func Mechanisms() []string { return []string{"plain", "scram-sha-256", "scram-sha-512"} }

func (s *SASL) validate() error {
	switch {
	case !slices.Contains(Mechanisms(), s.Mechanism):
		return fmt.Errorf("%q is no SASL mechanism: %s", s.Mechanism, strings.Join(Mechanisms(), ", "))
	case s.User == "" || s.Password == "":
		return errors.New("SASL needs a user and a password")
	}
	return nil
}

func (s *SASL) mechanism() sasl.Mechanism {
	auth := scram.Auth{User: s.User, Pass: s.Password}
	switch s.Mechanism {
	case "scram-sha-256":
		return auth.AsSha256Mechanism()
	case "scram-sha-512":
		return auth.AsSha512Mechanism()
	}
	return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()
}
