package static

import (
	"path"
	"strings"
)

// media is what is said about a kind of file.
type media struct {
	ctype []byte
	text  bool // it gets smaller when it is compressed
}

// unknown is what no browser takes for anything.
var unknown = media{ctype: []byte("application/octet-stream")}

// mediaOf gives the kind of a file by its name's ending, whatever the machine's own tables say: the same everywhere, and text is UTF-8.
func mediaOf(name string) media {
	ending := path.Ext(name)
	if m, ok := kinds[ending]; ok {
		return m
	}
	if m, ok := kinds[strings.ToLower(ending)]; ok {
		return m
	}
	return unknown
}

var kinds = kindsOf(map[string]string{
	".html": "text/html", ".htm": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".txt": "text/plain",
	".md": "text/markdown", ".csv": "text/csv", ".xml": "text/xml", ".vtt": "text/vtt", ".ics": "text/calendar", ".vcf": "text/vcard",

	".json": "application/json", ".map": "application/json", ".jsonld": "application/ld+json", ".geojson": "application/geo+json",
	".webmanifest": "application/manifest+json", ".rss": "application/rss+xml", ".atom": "application/atom+xml", ".xhtml": "application/xhtml+xml",
	".wasm": "application/wasm", ".svg": "image/svg+xml", ".ttf": "font/ttf", ".otf": "font/otf", ".ico": "image/vnd.microsoft.icon", ".bmp": "image/bmp",
}, map[string]string{
	".avif": "image/avif", ".webp": "image/webp", ".png": "image/png", ".apng": "image/apng", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".jxl": "image/jxl", ".tif": "image/tiff", ".tiff": "image/tiff", ".heic": "image/heic", ".woff": "font/woff", ".woff2": "font/woff2",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".flac": "audio/flac", ".wav": "audio/wav",
	".aac": "audio/aac", ".weba": "audio/webm", ".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime",
	".mpeg": "video/mpeg", ".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t",
	".pdf": "application/pdf", ".zip": "application/zip", ".gz": "application/gzip", ".zst": "application/zstd", ".tar": "application/x-tar",
	".7z": "application/x-7z-compressed", ".bz2": "application/x-bzip2", ".xz": "application/x-xz", ".epub": "application/epub+zip",
})

// kindsOf makes the table of what is compressed and of what is not.
func kindsOf(compressed, others map[string]string) map[string]media {
	all := make(map[string]media, len(compressed)+len(others))
	for ending, ctype := range compressed {
		if strings.HasPrefix(ctype, "text/") {
			ctype += "; charset=utf-8"
		}
		all[ending] = media{[]byte(ctype), true}
	}
	for ending, ctype := range others {
		all[ending] = media{ctype: []byte(ctype)}
	}
	return all
}
