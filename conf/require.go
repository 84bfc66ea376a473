package conf

// What "require" may say.
const (
	anyLogin     = "login"
	secondFactor = "second_factor"
)

// require says whether a login must have had a second factor, where the table that t is inherits that or says nothing.
func (l *loader) require(v value, inherited bool, a Access) bool {
	byDefault := anyLogin
	if inherited {
		byDefault = secondFactor
	}
	second := v.oneOf(byDefault, anyLogin, secondFactor) == secondFactor
	switch {
	case !v.given():
	case !l.hasLogin:
		v.mistake("require needs a [login] table, there is none")
	case a.Public:
		v.mistake(`require says how well who passes must be known, and access = "public", %v, lets everybody pass`, a.Pos)
	}
	return second && !a.Public
}
