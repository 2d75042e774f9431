package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// IsTLS tells whether a connection failed for want of an agreement on TLS: a
// certificate, or one side that speaks it and one that does not.
func IsTLS(err error) bool {
	_, is := tlsReason(err)
	return is
}

// tlsReason says in plain words why a TLS handshake failed.
func tlsReason(err error) (error, bool) {
	var (
		unknown *x509.UnknownAuthorityError
		byValue x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		header  tls.RecordHeaderError
		alert   *net.OpError
		verify  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown), errors.As(err, &byValue):
		return errors.New("its certificate is signed by an authority that is not trusted"), true
	case errors.As(err, &host):
		return fmt.Errorf("its certificate is not for %s", host.Host), true
	case errors.As(err, &invalid):
		return fmt.Errorf("its certificate is not valid: %w", invalid), true
	case errors.As(err, &header):
		return errors.New("it does not speak TLS"), true
	case errors.As(err, &alert) && alert.Op == "remote error": // an alert, whose type has no name outside
		return fmt.Errorf("it ends the TLS handshake: %s", strings.TrimPrefix(alert.Err.Error(), "tls: ")), true
	case errors.As(err, &verify):
		return fmt.Errorf("its certificate cannot be verified: %w", verify.Err), true
	}
	return nil, false
}
