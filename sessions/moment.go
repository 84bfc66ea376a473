package sessions

import "time"

// moment is a time for people: how long ago, and when.
type moment struct {
	ISO, Date, Ago string
}

// moment tells a time in the server's own time zone, which it names: the person's is not known.
func (l language) moment(t, now time.Time) moment {
	t = t.Local()
	return moment{t.Format(time.RFC3339), t.Format(l.T("2 Jan 2006, 15:04 MST")), l.ago(now.Sub(t))}
}

func (l language) ago(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return l.T("just now")
	case d < 2*time.Minute:
		return l.T("a minute ago")
	case d < time.Hour:
		return l.T("%d minutes ago", d/time.Minute)
	case d < 2*time.Hour:
		return l.T("an hour ago")
	case d < day:
		return l.T("%d hours ago", d/time.Hour)
	case d < 2*day:
		return l.T("a day ago")
	}
	return l.T("%d days ago", d/day)
}
