package sessions

import (
	"errors"
	"log/slog"
	"net/http"
)

// route answers one path. A nil method is refused; HEAD is answered as GET, but where only GET will do.
type route struct {
	get, post http.HandlerFunc
	server    http.HandlerFunc // POST, of a server: it proves by itself that it may
	onlyGet   bool
}

// routes is a whole small site: what is not in it does not exist, and every answer has the headers of a page that handles passwords.
type routes struct {
	service *Service
	base    string // before every path
	paths   map[string]route
}

const maxForm = 64 << 10

func (rs routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setPageHeaders(w.Header())
	at, ok := rs.paths[r.URL.Path]
	switch {
	case !ok:
		rs.service.show(w, r, http.StatusNotFound, "missing", view{Base: rs.base})
	case replayable(r) && (at.onlyGet || r.Method != http.MethodGet && r.Method != http.MethodHead):
		w.WriteHeader(http.StatusTooEarly)
	case at.get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead && !at.onlyGet):
		at.get(w, r)
	case at.post != nil && r.Method == http.MethodPost:
		rs.post(w, r, at.post)
	case at.server != nil && r.Method == http.MethodPost:
		at.server(w, r)
	default:
		w.Header().Set("Allow", at.allow())
		rs.service.show(w, r, http.StatusMethodNotAllowed, "missing", view{Base: rs.base})
	}
}

// replayable says whether r came as early data of TLS, which anybody on the way can send again (RFC 8470). We take none; a proxy in front says so
// if it does, and the client sends the request once more when it gets 425.
func replayable(r *http.Request) bool { return len(r.Header["Early-Data"]) > 0 }

func (at route) allow() string {
	switch {
	case at.get == nil:
		return "POST"
	case at.onlyGet:
		return "GET"
	case at.post == nil:
		return "GET, HEAD"
	}
	return "GET, HEAD, POST"
}

// post lets a form through that a page of this very origin sent, and no more of it than a form has.
func (rs routes) post(w http.ResponseWriter, r *http.Request, do http.HandlerFunc) {
	if !sameOrigin(r) {
		rs.service.show(w, r, http.StatusForbidden, "foreign", view{Base: rs.base})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			status = http.StatusRequestEntityTooLarge
		}
		rs.service.show(w, r, status, "foreign", view{Base: rs.base})
		return
	}
	do(w, withFrom(r))
}

var crossOrigin http.CrossOriginProtection

// sameOrigin wants proof, where http.CrossOriginProtection is content without: it lets a request pass that says nothing of its origin, or
// that comes from the same host over plain HTTP, where anyone on the way may have written the page. Every browser of the last years
// sends one of the two fields with a form.
func sameOrigin(r *http.Request) bool {
	if crossOrigin.Check(r) != nil {
		return false
	}
	return r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") == "https://"+r.Host
}

// down answers when nobody can tell who is asking.
func (rs routes) down(w http.ResponseWriter, r *http.Request, err error) {
	slog.Error("login: the store does not answer", "error", err)
	w.Header().Set("Retry-After", "5")
	rs.service.show(w, r, http.StatusServiceUnavailable, "down", view{Base: rs.base})
}

// redirect sends the browser on by GET. Not http.Redirect, which cleans paths: they must arrive as they were asked for.
func redirect(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Referrer-Policy", "no-referrer") // the address that leads here may hold a code
	w.WriteHeader(http.StatusSeeOther)
}

// forgetPages has the browser forget what it keeps of this origin's pages, those for its back button too: what an app lets it keep, or says nothing
// of, it would show to the next one who sits there.
func forgetPages(w http.ResponseWriter) { w.Header().Set("Clear-Site-Data", `"cache"`) }
