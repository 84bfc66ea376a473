package sessions

import "strings"

// part is how a program's name in a User-Agent field is known. The first that fits is the one: most browsers claim to be others, too.
type part struct{ sign, name string }

var (
	browsers = []part{
		{"MicroMessenger/", "WeChat"}, {"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"},
		{"YaBrowser/", "Yandex"}, {"UCBrowser/", "UC Browser"}, {"QQBrowser/", "QQ Browser"}, {"HuaweiBrowser/", "Huawei Browser"},
		{"DuckDuckGo/", "DuckDuckGo"}, {"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"},
		{"Epiphany/", "GNOME Web"}, {"Safari/", "Safari"}, {"curl/", "curl"}, {"Wget/", "Wget"},
	}
	systems = []part{
		{"Windows", "Windows"}, {"OpenHarmony", "HarmonyOS"}, {"HarmonyOS", "HarmonyOS"}, {"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"},
		{"Macintosh", "macOS"}, {"CrOS", "ChromeOS"}, {"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"}, {"Linux", "Linux"},
	}
)

func find(agent string, parts []part) string {
	for _, p := range parts {
		if strings.Contains(agent, p.sign) {
			return p.name
		}
	}
	return ""
}

// device is what a person calls the browser and the system that a User-Agent field speaks of.
func device(l language, agent string) string {
	browser, system := find(agent, browsers), find(agent, systems)
	switch {
	case browser != "" && system != "":
		return l.T("%s on %s", browser, system)
	case browser+system != "":
		return browser + system
	}
	return l.T("Unknown browser")
}
