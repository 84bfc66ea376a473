package edge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edge/reload"
)

// certify writes a certificate for a.test and its key into dir.
func certify(t *testing.T, dir string, life time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(filepath.Join(dir, "a.pem"), both, 0o600); err != nil {
		t.Fatal(err)
	}
}

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// take gives what was logged since the last time.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// The end of a certificate from files is told of two weeks ahead: at the start, with each reload, and every day; with its names, file and date.
func TestExpiryIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		dir := t.TempDir()
		certify(t, dir, 16*day+12*time.Hour)
		s := newServer(t, dir, "", base+"[[certificate]]\ncert = \"a.pem\"\nkey = \"a.pem\"\n[[vhost]]\nhosts = \"a.test\"\necho = true\n")
		log := new(journal)
		s.log = slog.New(slog.NewTextHandler(log, nil))
		told := func() int {
			return strings.Count(log.take(), `certificate `+dir+`/a.pem for a.test expires on 2000-01-17 12:00:00, `)
		}
		s.announce()
		if n := told(); n != 0 {
			t.Errorf("at the start, two weeks and more ahead: told %d times", n)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			reload.Run(ctx, nil, reload.Actions{Renew: s.renew, Due: s.due, Stop: func(context.Context) int64 { return 0 }, Log: s.log})
		}()
		for i, least := range []int{0, 0, 1, 1, 1, 1} {
			time.Sleep(day)
			synctest.Wait()
			if n := told(); n < least || n > 2*least {
				t.Errorf("on day %d: told %d times", i+1, n)
			}
		}
		if err := s.reload(ctx); err != nil || told() != 1 {
			t.Errorf("a reload does not tell; %v", err)
		}
		s.announce()
		if told() != 1 {
			t.Error("a start does not tell")
		}
		certify(t, dir, 90*day)
		time.Sleep(day) // it is noticed without a reload
		log.take()
		time.Sleep(7 * day)
		synctest.Wait()
		if text := log.take(); strings.Contains(text, "expire") || !strings.Contains(text, "renewed") {
			t.Errorf("with a new certificate: %s", text)
		}
		cancel()
		<-ended
	})
}
