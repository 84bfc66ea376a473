package conf

import (
	"slices"
	"strings"
)

// LogFormat is what the lines of the access log look like.
type LogFormat string

// The formats of the access log.
const (
	LogJSON     LogFormat = "json"
	LogCombined LogFormat = "combined" // as Apache and nginx write it
)

// hideByDefault are the query parameters that programs send secrets in.
var hideByDefault = []string{
	"token", "access_token", "id_token", "refresh_token", "code", "state", "password", "secret", "key", "api_key", "apikey", "sig", "signature", "session", "invite",
}

// longestHidden bounds a name in hide.
const longestHidden = 64

// logLines reads what the access log's lines hold.
func (c *Log) logLines(t *table) {
	c.Format = LogFormat(t.get("format").oneOf(string(LogJSON), string(LogJSON), string(LogCombined)))
	c.ReturnID = t.get("return_id").boolean(false)
	hide := t.get("hide")
	if !hide.given() {
		c.Hide = slices.Clone(hideByDefault)
	}
	for _, v := range hide.list() {
		name := v.str()
		if len(name) > longestHidden || strings.ContainsAny(name, "&;=[]%+") {
			v.mistake(`hide is for names of query parameters, of at most %d bytes and without any of "&;=[]%%+", is %q`, longestHidden, name)
		}
		c.Hide = append(c.Hide, name)
	}
}
