package sessions

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
)

// shownTexts are all English texts that a person can get to see: of the pages, of the code, and what is refused with a reason.
func shownTexts(t *testing.T) map[string]bool {
	texts := map[string]bool{}
	for _, page := range builtIn {
		for _, tmpl := range page.Templates() {
			if tmpl.Tree != nil {
				textsOf(t, tmpl.Tree.Root, texts)
			}
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		if !strings.HasSuffix(name, "_test.go") {
			textsOfCode(t, name, texts)
		}
	}
	for _, r := range refused {
		texts[r.err.Error()] = true
	}
	return texts
}

// textsOf adds what a template gives to T and Strong.
func textsOf(t *testing.T, n parse.Node, texts map[string]bool) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, n := range n.Nodes {
				textsOf(t, n, texts)
			}
		}
	case *parse.ActionNode:
		textsOf(t, n.Pipe, texts)
	case *parse.IfNode:
		textsOfBranch(t, &n.BranchNode, texts)
	case *parse.WithNode:
		textsOfBranch(t, &n.BranchNode, texts)
	case *parse.RangeNode:
		textsOfBranch(t, &n.BranchNode, texts)
	case *parse.TemplateNode:
		textsOf(t, n.Pipe, texts)
	case *parse.PipeNode:
		if n != nil {
			for _, c := range n.Cmds {
				textsOf(t, c, texts)
			}
		}
	case *parse.CommandNode:
		called := n.Args[0].String()
		if strings.HasSuffix(called, ".T") || strings.HasSuffix(called, ".Strong") {
			textsOfCall(t, n, texts)
		}
		for _, arg := range n.Args {
			textsOf(t, arg, texts)
		}
	}
}

func textsOfBranch(t *testing.T, n *parse.BranchNode, texts map[string]bool) {
	textsOf(t, n.Pipe, texts)
	textsOf(t, n.List, texts)
	textsOf(t, n.ElseList, texts)
}

func textsOfCall(t *testing.T, n *parse.CommandNode, texts map[string]bool) {
	switch text := n.Args[1].(type) {
	case *parse.StringNode:
		texts[text.Text] = true
	case *parse.DotNode: // the error, in the template of this name
	default:
		t.Errorf("%s: the text is neither written out nor the error", n)
	}
}

// textsOfCode adds what a Go file gives to T and Strong.
func textsOfCode(t *testing.T, name string, texts map[string]bool) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		called, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || called.Sel.Name != "T" && called.Sel.Name != "Strong" {
			return true
		}
		if text, ok := call.Args[0].(*ast.BasicLit); ok {
			unquoted, _ := strconv.Unquote(text.Value)
			texts[unquoted] = true
		}
		return true
	})
}

var verb = regexp.MustCompile(`%(\[\d\])?[a-z]`)

// Every text that is shown has a translation with as many gaps, and nothing else is translated.
func TestCatalogues(t *testing.T) {
	shown := shownTexts(t)
	if len(shown) < 30 {
		t.Fatalf("only %d texts were found", len(shown))
	}
	for _, l := range languages[1:] {
		for text := range shown {
			translated := l.texts[text]
			if translated == "" || len(verb.FindAllString(text, -1)) != len(verb.FindAllString(translated, -1)) {
				t.Errorf("%s: %q is translated as %q", l.Lang, text, translated)
			}
		}
		for text := range l.texts {
			if !shown[text] {
				t.Errorf("%s: %q is shown nowhere", l.Lang, text)
			}
		}
	}
}

// What is no markup and not from T is the same in all languages.
func TestNoTextOutsideT(t *testing.T) {
	files, err := filepath.Glob("pages/*.html")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	notText := regexp.MustCompile(`(?s)\{\{.*?\}\}|<[^>]*>|[^\pL]`)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		actions := regexp.MustCompile(`(?s)\{\{.*?\}\}`).ReplaceAllString(string(data), "")
		if rest := notText.ReplaceAllString(actions, ""); rest != "" {
			t.Errorf("%s: %q is not translated", name, rest)
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                "en",
		"en-GB,en;q=0.9":                  "en",
		"de":                              "en",
		"zh":                              "zh-Hans",
		"zh-CN,zh;q=0.9,en;q=0.8":         "zh-Hans",
		"zh-TW":                           "zh-Hans",
		"en,zh;q=0.9":                     "en",
		"zh;q=0.5,en;q=0.9":               "en",
		"fr,zh;q=0.5":                     "zh-Hans",
		`"><script>alert(1)</script>`:     "en",
		"zh," + strings.Repeat("x,", 500): "en",
		strings.Repeat("-", 900):          "en",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", accept)
		if got := languageOf(r); got.Lang != want {
			t.Errorf("%.50q: %s, want %s", accept, got.Lang, want)
		}
	}
}

func TestStrong(t *testing.T) {
	if got, want := english.Strong("a<b & %s", "<i>&"), "a&lt;b &amp; <strong>&lt;i&gt;&amp;</strong>"; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The pages and their errors are in the browser's language.
func TestPagesInChinese(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.accept = "zh-CN,zh;q=0.9"
	form := b.get("https://" + wiki + "/")
	p := b.fill(form, "alice", "wrong")
	for _, want := range []string{`<html lang="zh-Hans">`, "<h1>登录</h1>", "以继续访问 <strong>wiki.example</strong>", "抱歉，用户名或密码不正确。"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("no %s in %s", want, p.body)
		}
	}
	if p := b.get("https://" + wiki + "/.edge/nothing"); !strings.Contains(p.body, "页面不存在") {
		t.Error(p.body)
	}
}
