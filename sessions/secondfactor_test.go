package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/hotp"
)

const (
	vaultName = "vault.test"
	vault     = vaultName + ":8443" // with require = "second_factor"
	login     = "https://" + loginHost
	second    = login + "/second-factor"
)

var (
	seedField    = regexp.MustCompile(`name="seed" value="([^"]*)"`)
	secretText   = regexp.MustCompile(`<code id="secret">([A-Z2-7 ]+)</code>`)
	recoveryText = regexp.MustCompile(`<li><code>([a-z2-7-]+)</code></li>`)
	goOnLink     = regexp.MustCompile(`class="button" href="([^"]*)"`)
)

// code is what an app with the seed shows so many steps from now.
func (w *world) code(seed string, steps int64) string {
	w.t.Helper()
	code, err := hotp.GenerateCode(seed, uint64(w.clock.Now().Unix()/30+steps))
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// wrongCode is none of those that are good now.
func (w *world) wrongCode(seed string) string {
	for _, code := range []string{"000000", "111111", "222222", "333333"} {
		if !slices.Contains([]string{w.code(seed, -1), w.code(seed, 0), w.code(seed, 1)}, code) {
			return code
		}
	}
	panic("four codes, three of them good")
}

// enrol sets up an app for the browser's login, on the way to what p shows, and gives the page with the recovery codes.
func (w *world) enrol(b *browser, p page) (seed string, done page) {
	w.t.Helper()
	secret, sealed := secretText.FindStringSubmatch(p.body), seedField.FindStringSubmatch(p.body)
	if secret == nil || sealed == nil || !strings.Contains(p.body, "<svg") {
		w.t.Fatalf("nothing to enrol at %s: %d %s", p.url, p.status, p.body)
	}
	seed = strings.ReplaceAll(secret[1], " ", "")
	form := url.Values{"seed": {sealed[1]}, "code": {w.code(seed, -1)}}
	if f := hidden.FindStringSubmatch(p.body); f != nil {
		form.Set("f", f[1])
	}
	return seed, b.post(login+"/account/totp", form)
}

// withTOTP is a world in which alice has an app, and her recovery codes.
func withTOTP(t testing.TB) (w *world, seed string, codes []string) {
	w = newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	seed, p := w.enrol(b, b.get(login+"/account/totp"))
	for _, m := range recoveryText.FindAllStringSubmatch(p.body, -1) {
		codes = append(codes, m[1])
	}
	w.clock.pass(5 * time.Minute)
	return w, seed, codes
}

// half gives a browser that has given alice's password, and the page that asks for more.
func (w *world) half(address string) (*browser, page) {
	w.t.Helper()
	b := w.browser()
	p := b.logIn(address)
	if p.status != http.StatusOK || p.url.String() != second || b.jar[loginHost][ssoCookie] != "" || b.jar[loginHost][halfCookie] == "" {
		w.t.Fatalf("the password led to %s, %d, cookies %v", p.url, p.status, b.jar[loginHost])
	}
	return b, p
}

// give sends a code, or a recovery code.
func (b *browser) give(p page, field, code string) page {
	b.t.Helper()
	form := url.Values{field: {code}}
	if f := hidden.FindStringSubmatch(p.body); f != nil {
		form.Set("f", f[1])
	}
	return b.post(second, form)
}

func wantPage(t testing.TB, p page, status int, text string) {
	t.Helper()
	if p.status != status || !strings.Contains(p.body, text) {
		t.Errorf("%s: %d %s, want %d and %q", p.url, p.status, p.body, status, text)
	}
}

// An app counts once a code confirmed it, and not before; then the password alone logs in no more.
func TestTOTP(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	before := b.jar[loginHost][ssoCookie]
	p := b.get(login + "/account/totp")
	sealed, seed := seedField.FindStringSubmatch(p.body)[1], strings.ReplaceAll(secretText.FindStringSubmatch(p.body)[1], " ", "")
	again := b.post(login+"/account/totp", url.Values{"seed": {sealed}, "code": {w.wrongCode(seed)}})
	wantPage(t, again, http.StatusForbidden, "this code is wrong")
	if !strings.Contains(strings.ReplaceAll(again.body, " ", ""), seed) {
		t.Error("after a typing mistake there is another secret")
	}
	b2 := w.browser()
	b2.sees(b2.logIn("https://"+wiki+"/"), "alice at /") // nothing was confirmed
	for _, other := range []string{"", "x", b.jar[loginHost][ssoCookie]} {
		wantPage(t, b.post(login+"/account/totp", url.Values{"seed": {other}, "code": {w.code(seed, 0)}}), http.StatusForbidden, "took too long")
	}
	bob := w.browser()
	bob.post(login+"/login", url.Values{"name": {"bob"}, "password": {"battery staple"}})
	wantPage(t, bob.post(login+"/account/totp", url.Values{"seed": {sealed}, "code": {w.code(seed, 0)}}), http.StatusForbidden, "took too long")

	p = b.post(login+"/account/totp", url.Values{"seed": {sealed}, "code": {w.code(seed, 0)}})
	wantPage(t, p, http.StatusOK, "not shown again")
	if n := len(recoveryText.FindAllString(p.body, -1)); n != 10 {
		t.Errorf("%d recovery codes", n)
	}
	if after := b.jar[loginHost][ssoCookie]; after[:36] == before[:36] {
		t.Error("the login is worth more and has the same id")
	}
	if kept := w.users.all["alice"].seed; kept == "" || strings.Contains(kept, seed) {
		t.Errorf("at rest: %q", kept)
	}
	b.sees(b.get("https://"+vault+"/"), "alice at /")
	wantPage(t, b.get(login+"/"), http.StatusOK, "A login asks for a code from your app.")

	stolen := w.users.all["bob"] // who writes to the users' database cannot give bob a seed that he knows
	stolen.seed = w.users.all["alice"].seed
	w.users.all["bob"] = stolen
	p = bob.post(login+"/login", url.Values{"name": {"bob"}, "password": {"battery staple"}})
	wantPage(t, bob.give(p, "code", w.code(seed, 1)), http.StatusForbidden, "this code is wrong")

	w.clock.pass(time.Minute)
	b, p = w.half("https://" + wiki + "/a?b")
	for _, code := range []string{"", "x", w.wrongCode(seed), w.code(seed, -2), w.code(seed, 2), w.code(seed, 0) + "0"} {
		p = b.give(p, "code", code)
		if p.status == http.StatusTooManyRequests {
			w.clock.pass(time.Hour)
			b, p = w.half("https://" + wiki + "/a?b")
			p = b.give(p, "code", code)
		}
		wantPage(t, p, http.StatusForbidden, "this code is wrong")
	}
	w.clock.pass(time.Hour)
	for _, steps := range []int64{-1, 0, 1} {
		w.clock.pass(2 * time.Minute)
		b, p = w.half("https://" + wiki + "/a?b")
		code := w.code(seed, steps)
		b.sees(b.give(p, "code", code[:3]+" "+code[3:]), "alice at /a?b")
		if b.jar[loginHost][halfCookie] != "" {
			t.Error("the half login is kept")
		}
		b.sees(b.get("https://"+vault+"/"), "alice at /")
	}
}

// 29: a login half done is worth nothing but the page for the second factor, whatever it is called, and not for long.
func TestHalfLogin(t *testing.T) {
	w, seed, _ := withTOTP(t)
	b, p := w.half("https://" + wiki + "/")
	half := b.jar[loginHost][halfCookie]
	if n := w.rows("session"); n != 1 { // the login in which the app was set up
		t.Errorf("%d sessions", n)
	}
	for _, path := range []string{"/", "/login", "/account/totp", "/account/passkeys"} {
		p := b.get(login + path)
		if p.status != http.StatusOK || !strings.Contains(p.body, "<h1>Log in</h1>") && !strings.Contains(p.body, "<h1>Not signed in</h1>") {
			t.Errorf("%s: %d %s", path, p.status, p.body)
		}
	}
	for _, path := range []string{"/account/totp", "/account/totp/remove", "/account/recovery", "/account/passkeys", "/account/passkeys/remove"} {
		if p := b.post(login+path, url.Values{"id": {""}}); !strings.Contains(p.body, "<h1>Log in</h1>") {
			t.Errorf("POST %s: %d %s", path, p.status, p.body)
		}
	}
	if _, status := b.begin(forEnrol); status != http.StatusForbidden {
		t.Errorf("a passkey may be enrolled: %d", status)
	}
	b.unknown("https://" + shop + "/")
	for _, name := range []string{ssoCookie, sessionCookie, flowPrefix + "01234567"} {
		thief := w.browser()
		thief.set(loginHost, name, half)
		thief.set(wiki, name, half)
		thief.set(vault, name, half)
		thief.unknown("https://" + wiki + "/")
		thief.unknown("https://" + vault + "/")
		wantPage(t, thief.get(login+"/"), http.StatusOK, "<h1>Not signed in</h1>")
		wantPage(t, thief.get("https://"+wiki+"/.edge/auth/callback?code="+half+"&flow=01234567012345670123456701234567"), http.StatusBadRequest, "Login not completed")
		wantPage(t, thief.get(login+"/login?f="+half), http.StatusBadRequest, "Link not valid")
	}
	for _, other := range []string{hidden.FindStringSubmatch(p.body)[1], w.users.all["alice"].seed, w.db.newHandle().String(), "x", ""} {
		thief := w.browser()
		thief.set(loginHost, halfCookie, other)
		if p := thief.give(p, "code", w.code(seed, 0)); !strings.Contains(p.body, "<h1>Log in</h1>") {
			t.Errorf("%q passes for half a login: %d %s", other, p.status, p.body)
		}
	}

	late, p2 := w.half("https://" + wiki + "/")
	w.clock.pass(halfLife + time.Second)
	if p := late.give(p2, "code", w.code(seed, 0)); !strings.Contains(p.body, "<h1>Log in</h1>") {
		t.Errorf("too late: %d %s", p.status, p.body)
	}
	changed, p3 := w.half("https://" + wiki + "/")
	u := w.users.all["alice"]
	u.Epoch++
	w.users.all["alice"] = u
	if p := changed.give(p3, "code", w.code(seed, 0)); !strings.Contains(p.body, "<h1>Log in</h1>") {
		t.Errorf("after a change of the password: %d %s", p.status, p.body)
	}
}

// 39: five wrong codes, then it takes longer and longer, in whatever browser; what is right is not looked at meanwhile.
func TestGuessingTOTP(t *testing.T) {
	w, seed, codes := withTOTP(t)
	b, p := w.half("https://" + wiki + "/")
	for range factorTries.account.free {
		p = b.give(p, "code", w.wrongCode(seed))
		wantPage(t, p, http.StatusForbidden, "this code is wrong")
	}
	b, p = w.half("https://" + wiki + "/")
	b.from = "203.0.113.9:1" // an address of its own does not help
	wantPage(t, b.give(p, "code", w.code(seed, 0)), http.StatusTooManyRequests, "please wait 60 seconds")
	w.clock.pass(time.Minute)
	wantPage(t, b.give(p, "code", w.wrongCode(seed)), http.StatusForbidden, "this code is wrong")
	w.clock.pass(time.Minute + 59*time.Second)
	wantPage(t, b.give(p, "code", w.code(seed, 0)), http.StatusTooManyRequests, "please wait a second")
	other, p2 := w.half("https://" + wiki + "/")
	other.sees(other.give(p2, "recovery", codes[0]), "alice at /") // cannot be guessed, so is not kept waiting
	w.clock.pass(time.Second)
	b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /")

	evil, p := w.half("https://" + wiki + "/")
	evil.from = "198.51.100.1:1"
	for range factorTries.account.free { // a right code begins anew, for everybody
		wantPage(t, evil.give(p, "code", w.wrongCode(seed)), http.StatusForbidden, "this code is wrong")
	}
	wantPage(t, evil.give(p, "code", w.wrongCode(seed)), http.StatusTooManyRequests, "please wait")
	w.clock.pass(31 * time.Second)
	b, p = w.half("https://" + wiki + "/")
	b.from = "203.0.113.9:2"
	b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /") // where it was right before, others' wrong codes are no matter
}

// 39: however many addresses guess, or one, in a quarter of a year they guess some two thousand times.
func TestGuessesOfAQuarter(t *testing.T) {
	for _, addresses := range []int{1, 100} {
		w := newWorld(t)
		start, n := w.clock.Now(), 0
		for i := 0; w.clock.Now().Before(start.Add(90 * 24 * time.Hour)); i++ {
			address := fmt.Sprintf("192.0.2.%d:1", i%addresses)
			wait, err := w.db.guesses.Allow(background, factorTries, "alice", address)
			if err != nil {
				t.Fatal(err)
			}
			if wait == 0 {
				n++
			}
			if i%1000 == 0 {
				must(t, w.db.guesses.write(background))
				must(t, w.db.collect(background))
			}
			w.clock.pass(10 * time.Minute)
		}
		if n < 2000 || n > 2200 {
			t.Errorf("%d guesses from %d addresses", n, addresses)
		}
	}
}

// 39: a code works once: not again within its time, nor one before it, nor in two requests at once, of two processes.
func TestReplayOfTOTP(t *testing.T) {
	w, seed, _ := withTOTP(t)
	b, p := w.half("https://" + wiki + "/")
	used, before := w.code(seed, 0), w.code(seed, -1)
	b.sees(b.give(p, "code", used), "alice at /")
	b, p = w.half("https://" + wiki + "/")
	wantPage(t, b.give(p, "code", used), http.StatusForbidden, "has been used")
	wantPage(t, b.give(p, "code", before), http.StatusForbidden, "has been used")

	w.clock.pass(time.Minute)
	if n := atOnce(w, "code", w.code(seed, 0)); n != 1 {
		t.Errorf("one code made %d logins", n)
	}
}

// atOnce gives the same code in five browsers at once, and says how many it let in.
func atOnce(w *world, field, code string) (in int) {
	other := w.start()
	var browsers []*browser
	var pages []page
	for i := range factorTries.account.free {
		b, p := w.half("https://" + wiki + "/")
		if i%2 == 1 {
			b.server = other
		}
		browsers, pages = append(browsers, b), append(pages, p)
	}
	var all sync.WaitGroup
	for i, b := range browsers {
		all.Go(func() { b.give(pages[i], field, code) })
	}
	all.Wait()
	for _, b := range browsers {
		if b.jar[loginHost][ssoCookie] != "" {
			in++
		}
	}
	return in
}

// Each recovery code works once, also in five browsers at once, and not after new ones were made.
func TestRecoveryCodes(t *testing.T) {
	w, _, codes := withTOTP(t)
	if n := atOnce(w, "recovery", codes[0]); n != 1 {
		t.Errorf("one recovery code made %d logins", n)
	}
	b, p := w.half("https://" + wiki + "/")
	for _, code := range []string{codes[0], "x", "-", codes[1] + "a"} {
		wantPage(t, b.give(p, "recovery", code), http.StatusForbidden, "this code is wrong")
	}
	b.sees(b.give(p, "recovery", strings.ToUpper(strings.ReplaceAll(codes[1], "-", " "))), "alice at /")
	wantPage(t, b.get(login+"/account/totp"), http.StatusOK, "8 recovery codes are left")
	p = b.post(login+"/account/recovery", nil)
	wantPage(t, p, http.StatusOK, "codes from before are void")
	fresh := recoveryText.FindStringSubmatch(p.body)[1]
	b, p = w.half("https://" + wiki + "/")
	wantPage(t, b.give(p, "recovery", codes[2]), http.StatusForbidden, "this code is wrong")
	b.sees(b.give(p, "recovery", fresh), "alice at /")
}

// What weakens an account wants a fresh proof of both factors; then the password alone is enough again.
func TestRemoveTOTP(t *testing.T) {
	w, seed, _ := withTOTP(t)
	b, p := w.half("https://" + wiki + "/")
	b.give(p, "code", w.code(seed, 0))
	w.clock.pass(sureFor + time.Second)
	for _, path := range []string{"/account/totp/remove", "/account/recovery", "/account/passkeys/remove"} {
		if p = b.post(login+path, nil); !strings.Contains(p.body, "<h1>Log in</h1>") || !strings.Contains(p.body, `value="alice"`) {
			t.Errorf("%s with an old login: %d %s", path, p.status, p.body)
		}
	}
	if w.users.all["alice"].seed == "" {
		t.Fatal("removed")
	}
	p = b.post(login+"/account/totp/remove", nil)
	p = b.fill(p, "alice", "correct horse")
	if p.url.String() != second {
		t.Fatalf("the password led to %s", p.url)
	}
	p = b.give(p, "code", w.code(seed, 0))
	if p.url.String() != login+"/account/totp" {
		t.Errorf("the proof led to %s: %s", p.url, p.body)
	}
	b.post(login+"/account/totp/remove", nil)
	if u := w.users.all["alice"]; u.seed != "" || len(u.recovery) > 0 {
		t.Errorf("left: %+v", u.fakeFactors)
	}
	b2 := w.browser()
	b2.sees(b2.logIn("https://"+wiki+"/"), "alice at /")
}

// A site that wants a second factor sends who has none to set one up, and then on; nobody passes on the way.
func TestStepUpByEnrolment(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.sees(b.logIn("https://"+wiki+"/"), "alice at /")
	p := b.get("https://" + vault + "/deep?x=1")
	wantPage(t, p, http.StatusForbidden, "your account has no second factor yet")
	b.sees(b.get("https://"+wiki+"/"), "alice at /")
	link := goOnLink.FindStringSubmatch(p.body)[1]
	if thief := w.browser(); !strings.Contains(thief.get(login+link).body, "<h1>Log in</h1>") {
		t.Error("the page to set up a factor is open to anybody")
	}
	w.clock.pass(sureFor + time.Second) // the login is old: the password first
	p = b.fill(b.get(login+link), "alice", "correct horse")
	_, p = w.enrol(b, p)
	b.sees(b.get(login+goOnLink.FindStringSubmatch(p.body)[1]), "alice at /deep?x=1")
	b.sees(b.get("https://"+wiki+"/"), "alice at /")
}

// Who has a second factor, but logged in without, is asked for it on the way, and gets a new id everywhere.
func TestStepUp(t *testing.T) {
	w := newWorld(t)
	old := w.browser()
	old.logIn("https://" + wiki + "/")
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	seed, _ := w.enrol(b, b.get(login+"/account/totp"))
	sso, session := old.jar[loginHost][ssoCookie], old.jar[wiki][sessionCookie]
	old.sees(old.get("https://"+wiki+"/"), "alice at /")
	p := old.post(login+"/account/totp/remove", nil) // proved lately, but by one factor of two
	if p.url.String() != second || w.users.all["alice"].seed == "" {
		t.Errorf("one factor took the other away, at %s", p.url)
	}
	p = old.get("https://" + vault + "/")
	if p.url.String() != second {
		t.Fatalf("at %s: %s", p.url, p.body)
	}
	old.sees(old.get("https://"+wiki+"/"), "alice at /")
	w.clock.pass(time.Minute)
	old.sees(old.give(p, "code", w.code(seed, 0)), "alice at /")
	old.sees(old.get("https://"+wiki+"/"), "alice at /")
	if old.jar[loginHost][ssoCookie][:36] == sso[:36] || old.jar[wiki][sessionCookie][:36] == session[:36] {
		t.Error("an id was kept")
	}
	// A login that is worth less than its flow asked for makes no session, and no loop.
	third := w.browser()
	third.stop = callbackPath
	p = third.give(third.logIn("https://"+vault+"/"), "recovery", "")
	w.clock.pass(time.Minute)
	p = third.give(p, "code", w.code(seed, 0))
	third.stop = ""
	w.exec("UPDATE session SET data = json_set(data, '$.aal', 1)")
	if p = third.get(p.header.Get("Location")); p.url.String() != second || third.jar[vault][sessionCookie] != "" {
		t.Errorf("at %s, %v", p.url, third.jar[vault])
	}
}

// Who has but the password and a browser that was left alone does not get at the second factors by a change of the password.
func TestPasswordIsNoSecondFactor(t *testing.T) {
	w, seed, _ := withTOTP(t)
	b, p := w.half("https://" + wiki + "/")
	b.give(p, "code", w.code(seed, 0))
	w.clock.pass(sureFor + time.Second)
	p = b.post(login+"/account/password", url.Values{"current": {"correct horse"}, "new": {"horse battery"}, "again": {"horse battery"}})
	wantPage(t, p, http.StatusOK, "<strong>alice</strong>")
	b.post(login+"/account/totp/remove", nil)
	if f, err := w.users.Factors(background, "alice"); err != nil || !f.Any() {
		t.Errorf("the authenticator app is gone: %+v, %v", f, err)
	}
}

// ending ends every login of who adds an authenticator app, as another browser may at that moment.
type ending struct {
	*accounts
	w *world
}

func (e ending) SetTOTP(ctx context.Context, name, seed string, step int64) error {
	_, err := e.w.EndAll(ctx, name, uuid.Nil)
	return errors.Join(err, e.accounts.SetTOTP(ctx, name, seed, step))
}

// A login that ends while a factor is added is over, and the store is not said to be down.
func TestEndWhileEnrolling(t *testing.T) {
	w := newWorld(t)
	w.process = &process{New(w.db, ending{w.users, w}, w.conf, w.hosts), w.db}
	b := w.signedIn(onLinux)
	if _, p := w.enrol(b, b.get(login+"/account/totp")); !strings.Contains(p.body, "<h1>Log in</h1>") {
		t.Errorf("%d %s", p.status, p.body)
	}
}
