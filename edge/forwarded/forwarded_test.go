package forwarded

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/wire"
)

// exchange is a request from a peer with these fields, "name: value" each.
func exchange(peer string, fields ...string) *wire.Exchange {
	remote, _ := netip.ParseAddrPort(peer)
	x := &wire.Exchange{
		Scheme: []byte("http"), Authority: []byte("site.test"), Host: []byte("site.test"),
		Conn: &wire.Conn{Remote: remote}, Record: &record.Record{Client: remote},
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Fields = x.Fields.Add(name, value)
	}
	return x
}

// found is what x says of its client: the address, the way, scheme and host.
func found(x *wire.Exchange) string {
	var hops []string
	for _, h := range x.Hops {
		hops = append(hops, h.String())
	}
	return fmt.Sprintf("%v %s %s %s", x.Record.Client.Addr(), strings.Join(hops, ","), x.Scheme, x.ForwardedHost)
}

func TestRead(t *testing.T) {
	trust := &Trust{Proxies: conf.Prefixes{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	const peer, stranger = "10.0.0.1:5", "192.0.2.9:5"
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("10.1.0.%d", i))
	}
	for name, c := range map[string]struct {
		peer   string
		fields []string
		want   string
	}{
		"nothing said":             {peer, nil, "10.0.0.1  http "},
		"a stranger says":          {stranger, []string{"x-forwarded-for: 192.0.2.1", "x-forwarded-proto: https", "x-forwarded-host: a", "forwarded: for=192.0.2.1"}, "192.0.2.9  http "},
		"one":                      {peer, []string{"x-forwarded-for: 192.0.2.1"}, "192.0.2.1 192.0.2.1 http "},
		"the client's claim":       {peer, []string{"x-forwarded-for: 10.6.6.6, 1.1.1.1,192.0.2.1"}, "192.0.2.1 192.0.2.1 http "},
		"trusted ones between":     {peer, []string{"x-forwarded-for: 1.1.1.1, 192.0.2.1, 10.0.0.3,\t10.0.0.2"}, "192.0.2.1 192.0.2.1,10.0.0.3,10.0.0.2 http "},
		"all trusted":              {peer, []string{"x-forwarded-for: 10.0.0.3, 10.0.0.2"}, "10.0.0.3 10.0.0.3,10.0.0.2 http "},
		"several lines":            {peer, []string{"x-forwarded-for: 1.1.1.1", "accept: 9.9.9.9", "x-forwarded-for: 192.0.2.1", "x-forwarded-for: 10.0.0.2"}, "192.0.2.1 192.0.2.1,10.0.0.2 http "},
		"malformed at the end":     {peer, []string{"x-forwarded-for: 192.0.2.1, nonsense"}, "10.0.0.1  http "},
		"malformed in the middle":  {peer, []string{"x-forwarded-for: 192.0.2.1, unknown, 10.0.0.2"}, "10.0.0.2 10.0.0.2 http "},
		"an empty item":            {peer, []string{"x-forwarded-for: 192.0.2.1, , 10.0.0.2"}, "10.0.0.2 10.0.0.2 http "},
		"empty":                    {peer, []string{"x-forwarded-for: "}, "10.0.0.1  http "},
		"ports":                    {peer, []string{"x-forwarded-for: 192.0.2.1:80, [2001:db8::2]:443, [2001:db8::3]"}, "192.0.2.1 192.0.2.1,2001:db8::2,2001:db8::3 http "},
		"IPv4 as IPv6":             {peer, []string{"x-forwarded-for: 192.0.2.1, ::ffff:10.0.0.2, [::ffff:10.0.0.3]"}, "192.0.2.1 192.0.2.1,10.0.0.2,10.0.0.3 http "},
		"a zone":                   {peer, []string{"x-forwarded-for: fe80::1%eth0"}, "10.0.0.1  http "},
		"brackets around IPv4":     {peer, []string{"x-forwarded-for: [192.0.2.1]"}, "10.0.0.1  http "},
		"endless":                  {peer, []string{"x-forwarded-for: 192.0.2.1, " + strings.Join(many, ", ")}, "10.1.0.8 " + strings.Join(many[8:], ",") + " http "},
		"an IPv6 peer":             {"[2001:db8::7]:5", []string{"x-forwarded-for: 192.0.2.1"}, "192.0.2.1 192.0.2.1 http "},
		"an IPv4 peer as IPv6":     {"[::ffff:10.0.0.1]:5", []string{"x-forwarded-for: 192.0.2.1"}, "192.0.2.1 192.0.2.1 http "},
		"a peer on a unix socket":  {"", []string{"x-forwarded-for: 192.0.2.1", "x-forwarded-proto: https"}, "invalid IP  http "},
		"X-Real-Ip is nobody's":    {peer, []string{"x-real-ip: 192.0.2.1"}, "10.0.0.1  http "},
		"the scheme":               {peer, []string{"x-forwarded-proto: HTTPS"}, "10.0.0.1  https "},
		"two schemes":              {peer, []string{"x-forwarded-proto: https, http"}, "10.0.0.1  http "},
		"two fields of schemes":    {peer, []string{"x-forwarded-proto: https", "x-forwarded-proto: https"}, "10.0.0.1  http "},
		"no scheme":                {peer, []string{"x-forwarded-proto: javascript"}, "10.0.0.1  http "},
		"the host":                 {peer, []string{"x-forwarded-host: WWW.Example.org:8443"}, "10.0.0.1  http www.example.org:8443"},
		"a malformed host":         {peer, []string{"x-forwarded-host: a/b"}, "10.0.0.1  http "},
		"a host with a user":       {peer, []string{"x-forwarded-host: a@b"}, "10.0.0.1  http "},
		"two hosts":                {peer, []string{"x-forwarded-host: a, b"}, "10.0.0.1  http "},
		"Forwarded":                {peer, []string{"forwarded: for=192.0.2.1;proto=https;host=a.test"}, "192.0.2.1 192.0.2.1 https a.test"},
		"Forwarded, several":       {peer, []string{`forwarded: for=1.1.1.1;proto=https;host=evil, For="192.0.2.1:80" ; Proto=https;host="b.test:1", for="[2001:db8::1]";proto=http`}, "192.0.2.1 192.0.2.1,2001:db8::1 https b.test:1"},
		"Forwarded is second":      {peer, []string{"forwarded: for=1.1.1.1;proto=https", "x-forwarded-for: 192.0.2.1"}, "192.0.2.1 192.0.2.1 http "},
		"a relative of Forwarded":  {peer, []string{"forwarded: for=192.0.2.1", "x-forwarded-proto: https", "x-forwarded-host: evil"}, "192.0.2.1 192.0.2.1 http "},
		"Forwarded, hidden":        {peer, []string{"forwarded: for=192.0.2.1, for=_hidden, for=10.0.0.2"}, "10.0.0.2 10.0.0.2 http "},
		"Forwarded, unknown":       {peer, []string{"forwarded: for=192.0.2.1, for=unknown"}, "10.0.0.1  http "},
		"Forwarded, no for":        {peer, []string{"forwarded: for=192.0.2.1, by=10.0.0.2"}, "10.0.0.1  http "},
		"Forwarded, open quote":    {peer, []string{`forwarded: for=1.1.1.1;host=", for=192.0.2.1`}, "192.0.2.1 192.0.2.1 http "},
		"Forwarded, quoted comma":  {peer, []string{`forwarded: for=192.0.2.1;host="a, for=1.1.1.1"`}, "192.0.2.1 192.0.2.1 http "},
		"Forwarded, escaped quote": {peer, []string{`forwarded: for=192.0.2.1;host="a\", for=1.1.1.1;x=\""`}, "10.0.0.1  http "},
		"Forwarded, nonsense":      {peer, []string{"forwarded: nonsense"}, "10.0.0.1  http "},
		"Forwarded, trailing":      {peer, []string{`forwarded: for="192.0.2.1"x`}, "10.0.0.1  http "},
	} {
		x := exchange(c.peer, c.fields...)
		trust.Read(x)
		if got := found(x); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", name, got, c.want)
		}
		if string(x.Host) != "site.test" || string(x.Authority) != "site.test" {
			t.Errorf("%s: the host that decides became %s", name, x.Host)
		}
	}
	x := exchange("", "x-forwarded-for: 10.0.0.2, 192.0.2.1", "x-forwarded-proto: https")
	(&Trust{Unix: true}).Read(x)
	if got := found(x); got != "192.0.2.1 192.0.2.1 https " {
		t.Errorf("a unix socket that is trusted: %s", got)
	}
}

func TestNobodyIsTrusted(t *testing.T) {
	x := exchange("10.0.0.1:5", "x-forwarded-for: 192.0.2.1", "x-forwarded-proto: https")
	var none *Trust
	if n := testing.AllocsPerRun(100, func() { none.Read(x) }); n > 0 || found(x) != "10.0.0.1  http " {
		t.Errorf("%v allocations, %s", n, found(x))
	}
}

// Whatever a client writes left of what a trusted proxy appends, it is the client.
func FuzzForwarded(f *testing.F) {
	f.Add(`for=1.1.1.1, for="[::1]"`)
	f.Add(`for=";host="a`)
	f.Add(`\",",`)
	trust := &Trust{Proxies: conf.Prefixes{netip.MustParsePrefix("10.0.0.0/8")}}
	f.Fuzz(func(t *testing.T, claim string) {
		for _, name := range []string{"x-forwarded-for: ", "forwarded: "} {
			own := map[string]string{"x-forwarded-for: ": "192.0.2.1, 10.0.0.2", "forwarded: ": `for=192.0.2.1;host="a.test:80";proto=https, for="10.0.0.2:1"`}[name]
			x := exchange("10.0.0.1:5", name+claim+", "+own)
			trust.Read(x)
			if got := x.Record.Client.Addr().String(); got != "192.0.2.1" {
				t.Errorf("%s%q: the client is %s", name, claim, got)
			}
			x = exchange("10.0.0.1:5", name+claim)
			trust.Read(x)
			if !x.Record.Client.IsValid() && x.Record.Client.Addr().Zone() != "" {
				t.Errorf("%s%q: %v", name, claim, x.Record.Client)
			}
		}
	})
}
