package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"edge/edge/wire"
	"edge/sessions"
)

// echo answers with the request as it was understood, but for what is secret: cookies of ours and credentials.
func echo(x *wire.Exchange) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/%d.%d\nhost: %s\n", x.Method, x.Target(), x.Major, x.Minor, x.Authority)
	f := slices.Clone(x.Fields)
	slices.SortStableFunc(f, func(a, b wire.Field) int { return bytes.Compare(a.Name, b.Name) })
	for _, field := range f {
		switch string(field.Name) {
		case "cookie":
			if field.Value = sessions.StripCookies(field.Value); len(field.Value) == 0 {
				continue
			}
		case "authorization", "proxy-authorization":
			field.Value = []byte("(hidden)")
		}
		fmt.Fprintf(&b, "%s: %s\n", field.Name, field.Value)
	}
	if x.User != "" {
		fmt.Fprintf(&b, "\nYou are %s.\n", x.User)
	}
	wire.Reply(x, http.StatusOK, "text/plain; charset=utf-8", b.String(), wire.Field{Name: []byte("cache-control"), Value: []byte("no-store")})
}
