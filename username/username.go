// Package username knows the one form of the name of a user or a group, in which it is kept, counted and compared.
package username

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

const (
	// Longest is how many characters a name has at most.
	Longest = 64
	// longestTyped bounds what is looked at, in bytes.
	longestTyped = 1024
)

// Err is what a name is refused with.
var Err = errors.New("a name has 1 to 64 letters of one script, digits and any of . _ @ + -")

// Canonical gives the one form of a name, without spaces around it; or Err. What looks the same, or is the same to whoever types it, has one form.
//
// It is RFC 8265's UsernameCaseMapped: wide letters become narrow ones, capitals small ones, and the whole NFC. That profile refuses every
// letter that has a compatibility form, so what is left is in NFKC as well: "ﬁ" is refused, not taken for "fi", and no two names differ only
// in what NFKC would unite. Small letters rather than folded ones are what the RFC asks for, since folding unites words: "maße" and "masse".
//
// Of what the RFC leaves open: beside letters, their marks and the digits 0 to 9 there are only . _ @ + and -, so that an e-mail address is a
// name; and the letters are of one script, where the three of Japanese count as one, as do the pairs of Korean and of Chinese with bopomofo
// (UTS 39, "single script"). A Cyrillic or Greek name has a letter that is not the image of a Latin one: "сора" is refused.
func Canonical(name string) (string, error) {
	name = strings.Trim(name, " ")
	if len(name) > longestTyped || name == "" {
		return "", Err
	}
	if ascii(name) {
		name = strings.ToLower(name)
	} else {
		var ok bool
		if name, ok = mapped(name); !ok {
			return "", Err
		}
	}
	if utf8.RuneCountInString(name) > Longest || strings.ContainsFunc(name, odd) || !oneScript(name) || latinAlike(name) {
		return "", Err
	}
	return name, nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// mapped applies the profile until nothing changes: once is not always enough (RFC 8264 §7).
func mapped(name string) (string, bool) {
	for range 4 {
		next, err := precis.UsernameCaseMapped.String(name)
		if err != nil {
			return "", false
		}
		if next == name {
			return name, true
		}
		name = next
	}
	return "", false
}

// odd says of a character that no name holds it.
func odd(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return !('a' <= r && r <= 'z') && !('0' <= r && r <= '9') && !strings.ContainsRune("._@+-", r)
	case unicode.IsLetter(r):
		return unicode.Is(unicode.Lm, r) && !unicode.In(r, written...) // modifier letters are of no script: ʻ, ˈ
	}
	return !unicode.IsMark(r)
}

// written are the scripts that are written with others: Japanese, Korean, Chinese.
var written = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo}

var together = [][]*unicode.RangeTable{
	{unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Han, unicode.Hangul},
	{unicode.Han, unicode.Bopomofo},
}

// oneScript says whether all letters are of one script, or of some that are written together. What all scripts share is of none.
func oneScript(name string) bool {
	var found []*unicode.RangeTable
	for _, r := range name {
		if unicode.In(r, unicode.Common, unicode.Inherited) {
			continue
		}
		if script := scriptOf(r); script == nil {
			return false
		} else if !holds(found, script) {
			found = append(found, script)
		}
	}
	if len(found) <= 1 {
		return true
	}
	for _, group := range together {
		if holds(group, found...) {
			return true
		}
	}
	return false
}

func scriptOf(r rune) *unicode.RangeTable {
	for _, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return table
		}
	}
	return nil
}

func holds(list []*unicode.RangeTable, all ...*unicode.RangeTable) bool {
	for _, want := range all {
		found := false
		for _, one := range list {
			found = found || one == want
		}
		if !found {
			return false
		}
	}
	return true
}

// images are the Cyrillic and Greek letters that look like Latin ones, as Chromium lists them for names of hosts.
const images = "асԁеһіјӏорԗԛѕԝхуъьҽпгѵѡ" + "αικνρυωηοτγσ"

// latinAlike says whether a Cyrillic or Greek name has no letter of its own.
func latinAlike(name string) bool {
	found := false
	for _, r := range name {
		if unicode.In(r, unicode.Cyrillic, unicode.Greek) {
			found = true
			if !strings.ContainsRune(images, r) {
				return false
			}
		}
	}
	return found
}
