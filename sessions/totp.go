package sessions

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"rsc.io/qr"
)

// What every authenticator app understands (RFC 6238); most know nothing else.
const (
	totpStep   = 30 * time.Second
	totpSkew   = 1  // steps that a clock may be off, either way
	seedLen    = 20 // bytes: RFC 4226 recommends 160 bits
	enrolLife  = 30 * time.Minute
	recoveries = 10
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// newSeed is a new secret, as apps want it typed.
func newSeed() string {
	var raw [seedLen]byte
	rand.Read(raw[:])
	return base32Text.EncodeToString(raw[:])
}

// stepOf is the step in which a code is the seed's, near now; 0: it is not.
func stepOf(seed, code string, now time.Time) (step int64, err error) {
	code = strings.ReplaceAll(code, " ", "")
	at := now.Unix() / int64(totpStep/time.Second)
	for _, try := range []int64{at - totpSkew, at, at + totpSkew} {
		want, err := hotp.GenerateCodeCustom(seed, uint64(try), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step = try
		}
	}
	return step, nil
}

// seedPlace binds a sealed seed to its account: moved to another's row it opens no more.
func seedPlace(user string) string { return "of " + user }

// useTOTP is nil for a code that was never used: ErrBadCode, errWait.
func (s *Service) useTOTP(r *http.Request, user, code string) error {
	return s.try(r, factorTries, user, func() error { return s.checkTOTP(r.Context(), user, code) })
}

func (s *Service) checkTOTP(ctx context.Context, user, code string) error {
	f, err := s.users.Factors(ctx, user)
	if err != nil {
		return err
	}
	var seed string
	if f.TOTP == "" || !s.db.factors.seeds.open(seedPlace(user), f.TOTP, &seed) {
		return ErrBadCode
	}
	step, err := stepOf(seed, code, s.db.now())
	if err != nil || step == 0 {
		return orBadCode(err)
	}
	if used, err := s.users.UseTOTP(ctx, user, f.TOTP, step); err != nil || !used {
		return orBadCode(err)
	}
	return nil
}

func orBadCode(err error) error {
	if err != nil {
		return err
	}
	return ErrBadCode
}

// useRecovery is nil for a recovery code of the user, which is gone then: ErrBadCode. They are not counted: 80 bits are not guessed.
func (s *Service) useRecovery(ctx context.Context, user, code string) error {
	if used, err := s.users.UseRecovery(ctx, user, hashRecovery(code)); err != nil || !used {
		return orBadCode(err)
	}
	return nil
}

// hashRecovery is what is kept of a recovery code. It is random enough that a plain hash will do.
func hashRecovery(code string) string {
	plain := strings.NewReplacer(" ", "", "-", "").Replace(strings.ToLower(code))
	hash := sha256.Sum256([]byte("edge recovery code " + plain))
	return hex.EncodeToString(hash[:])
}

// newRecovery makes codes of 80 bits, in groups that can be read aloud.
func newRecovery() (codes, hashes []string) {
	for range recoveries {
		var raw [10]byte
		rand.Read(raw[:])
		text := strings.ToLower(base32Text.EncodeToString(raw[:]))
		code := text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
		codes, hashes = append(codes, code), append(hashes, hashRecovery(code))
	}
	return codes, hashes
}

// enrolment is a seed that no code has confirmed yet; only the form that shows it holds it.
type enrolment struct {
	User   string `json:"user"`
	Seed   string `json:"seed"`
	Issued int64  `json:"issued"`
}

const enrolPlace = "enrolment"

// totpPage shows a new seed, or what there is.
func (p *loginPages) totpPage(w http.ResponseWriter, r *http.Request) {
	l, f, v, ok := p.sure(w, r, r.URL.Query().Get("f"))
	switch {
	case !ok:
	case f.TOTP != "":
		p.show(w, r, http.StatusOK, eventTOTP, v)
	default:
		p.showSeed(w, r, http.StatusOK, enrolment{l.User, newSeed(), p.db.millis()}, v)
	}
}

func (p *loginPages) showSeed(w http.ResponseWriter, r *http.Request, status int, e enrolment, v view) {
	sealed, err := p.db.factors.seeds.seal(enrolPlace, e)
	if err == nil {
		v.Factor.QR, err = newQR(otpauth(p.conf.Host, e.User, e.Seed))
	}
	if err != nil {
		p.down(w, r, err)
		return
	}
	v.Factor.Seed, v.Factor.Secret = sealed, grouped(e.Seed)
	p.show(w, r, status, "totp-new", v)
}

func grouped(s string) string {
	var out strings.Builder
	for i, c := range s {
		if i > 0 && i%4 == 0 {
			out.WriteByte(' ')
		}
		out.WriteRune(c)
	}
	return out.String()
}

// otpauth is the address by which an app takes a seed. Not url.Values, whose "+" for a space some apps show as it is.
func otpauth(issuer, user, seed string) string {
	issuer = url.PathEscape(issuer)
	return "otpauth://totp/" + issuer + ":" + url.PathEscape(user) + "?secret=" + seed + "&issuer=" + issuer
}

// totpConfirm makes a seed count, once a code shows that the app has it.
func (p *loginPages) totpConfirm(w http.ResponseWriter, r *http.Request) {
	l, f, v, ok := p.sure(w, r, r.PostForm.Get("f"))
	if !ok {
		return
	}
	var e enrolment
	open := p.db.factors.seeds.open(enrolPlace, r.PostForm.Get("seed"), &e)
	if !open || e.User != l.User || p.db.now().Sub(time.UnixMilli(e.Issued)) > enrolLife {
		v.Error = ErrTooLate.Error()
		p.showSeed(w, r, http.StatusForbidden, enrolment{l.User, newSeed(), p.db.millis()}, v)
		return
	}
	step, err := stepOf(e.Seed, r.PostForm.Get("code"), p.db.now())
	if err == nil && step == 0 {
		v.Error = ErrBadCode.Error()
		p.showSeed(w, r, http.StatusForbidden, e, v)
		return
	}
	var sealed string
	if err == nil {
		sealed, err = p.db.factors.seeds.seal(seedPlace(l.User), e.Seed)
	}
	if err == nil {
		err = p.users.SetTOTP(r.Context(), l.User, sealed, step)
	}
	if err != nil {
		p.down(w, r, err)
		return
	}
	p.enrolled(w, r, l, f, v, eventTOTP, "/account/totp")
}

func (p *loginPages) totpRemove(w http.ResponseWriter, r *http.Request) {
	l, _, _, ok := p.sure(w, r, "")
	if !ok {
		return
	}
	if err := p.users.RemoveTOTP(r.Context(), l.User); err != nil {
		p.down(w, r, err)
		return
	}
	p.noteAccount(r, l, eventTOTP+" removed")
	redirect(w, accountPath)
}

// recoveryRenew makes new recovery codes; the ones before are void.
func (p *loginPages) recoveryRenew(w http.ResponseWriter, r *http.Request) {
	l, f, v, ok := p.sure(w, r, "")
	switch {
	case !ok:
	case !f.Any():
		redirect(w, accountPath)
	default:
		p.noteAccount(r, l, eventRecovery+"s renewed")
		p.showRecovery(w, r, l.User, v)
	}
}

// showRecovery makes recovery codes and shows them, the only time.
func (p *loginPages) showRecovery(w http.ResponseWriter, r *http.Request, user string, v view) {
	codes, hashes := newRecovery()
	if err := p.users.SetRecovery(r.Context(), user, hashes); err != nil {
		p.down(w, r, err)
		return
	}
	v.Factor.Codes = codes
	p.show(w, r, http.StatusOK, "recovery-codes", v)
}

// qrCode is one to be drawn: the path of an SVG of this many units.
type qrCode struct {
	Size int
	Path string
}

func newQR(text string) (*qrCode, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, err
	}
	const quiet = 4 // units around it, that cameras need
	var path strings.Builder
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	return &qrCode{code.Size + 2*quiet, path.String()}, nil
}
