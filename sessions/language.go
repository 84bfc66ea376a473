package sessions

import (
	"fmt"
	"html"
	"html/template"
	"net/http"
	"strings"

	"github.com/BurntSushi/toml"
	xlanguage "golang.org/x/text/language"
)

// language is what the pages speak to one person.
type language struct {
	Lang  string            // BCP 47
	texts map[string]string // by the English ones; nil for English
}

var (
	english   = language{Lang: "en"}
	languages = []language{english, {"zh-Hans", catalogue("zh")}} // the first is for those who speak none of them
	spoken    = xlanguage.NewMatcher([]xlanguage.Tag{xlanguage.English, xlanguage.SimplifiedChinese})
)

func catalogue(name string) (texts map[string]string) {
	data, err := files.ReadFile("pages/" + name + ".toml")
	if err == nil {
		err = toml.Unmarshal(data, &texts)
	}
	if err != nil {
		panic(err)
	}
	return texts
}

// maxAccept is as long as a browser's list of languages gets, with room.
const maxAccept = 1000

// languageOf is the language that the browser asks for.
func languageOf(r *http.Request) language {
	accept := r.Header.Get("Accept-Language")
	if len(accept) > maxAccept {
		return english
	}
	_, best := xlanguage.MatchStrings(spoken, accept)
	return languages[best]
}

// T is an English text in this language, with args put in as by fmt.Sprintf; text itself where it has no translation.
func (l language) T(text string, args ...any) string {
	if t, ok := l.texts[text]; ok {
		text = t
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Strong is T with every arg emphasised.
func (l language) Strong(text string, args ...string) template.HTML {
	strong := make([]any, len(args))
	for i, arg := range args {
		strong[i] = "<strong>" + html.EscapeString(arg) + "</strong>"
	}
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(l.T(text))
	return template.HTML(fmt.Sprintf(escaped, strong...))
}
