package transport

import "testing"

func TestPlainTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/jobs":            "/v1/jobs",
		"/%76%31/%6A%6fbs":    "/v1/jobs",
		"/a%2Db%2db?c=%2D":    "/a-b-b?c=%2D",
		"/a%2Fb%2f":           "/a%2Fb%2f",
		"/a%252Db":            "/a%252Db",
		"/a%2":                "/a%2",
		"/a%":                 "/a%",
		"/%zz%4z%z1%41":       "/%zz%4z%z1A",
		"/%00%20%C3%A4%7F%3F": "/%00%20%C3%A4%7F%3F",
		"/%2e%2E/%7E":         "/../~",
		"/?%41":               "/?%41",
		"http://h%41/%41?%41": "http://hA/A?%41",
		"":                    "",
	} {
		if got := string(PlainTarget([]byte(target))); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestBased(t *testing.T) {
	for target, want := range map[string]string{
		"/a/b/v1/jobs":               "/v1/jobs",
		"/%61/b/v1?x=/a/b/":          "/v1?x=/a/b/",
		"/a/b":                       "/a/b",
		"/a/b?x":                     "/a/b?x",
		"/a/bc/v1":                   "/a/bc/v1",
		"/a%2Fb/v1":                  "/a%2Fb/v1",
		"/v1/http://h/a/b/v1":        "/v1/http://h/a/b/v1",
		"http://h:1/a/b/v1?x":        "http://h:1/v1?x",
		"http://h/a/b":               "http://h/a/b",
		"http://h/v1":                "http://h/v1",
		"http://h":                   "http://h",
		"http://h?x=/a/b/v1":         "http://h?x=/a/b/v1",
		"http://h/v1?x=http:///a/b/": "http://h/v1?x=http:///a/b/",
		"*":                          "*",
		"":                           "",
	} {
		if got := string(Based("/a/b", []byte(target))); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}
