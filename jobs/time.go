package jobs

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrTime: a text is no time of RFC 3339.
var ErrTime = errors.New("must be an RFC 3339 time, as in 2026-01-01T00:00:00Z")

// ParseTime reads a date-time of RFC 3339 section 5.6, exactly: T and Z in either case,
// a fraction of any length, of which nanoseconds count, and an offset up to 23:59,
// where -00:00 is UTC. The second 60 is taken where a leap second can be, in the last
// minute of a month in UTC, and means the first moment after it.
func ParseTime(s string) (time.Time, error) {
	p := timeParser{rest: s}
	year, month := p.number(4, 0, 9999), p.after("-").number(2, 1, 12)
	day := p.after("-").number(2, 1, 31)
	hour, minute := p.after("Tt").number(2, 0, 23), p.after(":").number(2, 0, 59)
	second := p.after(":").number(2, 0, 60)
	nanos, offset := p.fraction(), p.offset()
	date := time.Date(year, time.Month(month), day, hour, minute, min(second, 59), nanos, time.UTC).Add(-offset)
	if p.failed || p.rest != "" || time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return time.Time{}, ErrTime
	}
	if second < 60 {
		return date, nil
	}
	next := date.Add(time.Second)
	if h, m, _ := date.Clock(); h != 23 || m != 59 || next.Day() != 1 {
		return time.Time{}, ErrTime
	}
	return next, nil
}

// timeParser takes a text apart from its front. Once it has failed it returns anything.
type timeParser struct {
	rest   string
	failed bool
}

// after takes one of some characters.
func (p *timeParser) after(chars string) *timeParser {
	if p.rest != "" {
		for _, c := range []byte(chars) {
			if p.rest[0] == c {
				p.rest = p.rest[1:]
				return p
			}
		}
	}
	p.failed = true
	return p
}

// number takes so many digits.
func (p *timeParser) number(digits, low, high int) (n int) {
	for range digits {
		if p.rest == "" || !isDigit(p.rest[0]) {
			p.failed = true
			return low
		}
		n = 10*n + int(p.rest[0]-'0')
		p.rest = p.rest[1:]
	}
	p.failed = p.failed || n < low || n > high
	return n
}

// fraction takes the fraction of a second, if there is one.
func (p *timeParser) fraction() (nanos int) {
	if p.rest == "" || p.rest[0] != '.' {
		return 0
	}
	digits := 0
	for p.rest = p.rest[1:]; p.rest != "" && isDigit(p.rest[0]); p.rest = p.rest[1:] {
		if digits < 9 {
			nanos = 10*nanos + int(p.rest[0]-'0')
		}
		digits++
	}
	p.failed = p.failed || digits == 0
	for ; digits < 9; digits++ {
		nanos *= 10
	}
	return nanos
}

// offset takes the offset from UTC.
func (p *timeParser) offset() time.Duration {
	if p.rest == "Z" || p.rest == "z" {
		p.rest = ""
		return 0
	}
	west := p.rest != "" && p.rest[0] == '-'
	hours := p.after("+-").number(2, 0, 23)
	d := time.Duration(hours)*time.Hour + time.Duration(p.after(":").number(2, 0, 59))*time.Minute
	if west {
		return -d
	}
	return d
}

// UnmarshalText implements encoding.TextUnmarshaler; see ParseTime.
func (t *Time) UnmarshalText(text []byte) (err error) {
	t.Time, err = ParseTime(string(text))
	return err
}

// UnmarshalJSON implements json.Unmarshaler; see ParseTime.
func (t *Time) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return ErrTime
	}
	return t.UnmarshalText([]byte(s))
}
