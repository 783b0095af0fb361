package server

import (
	"strings"
	"testing"
)

// The command to try is one whatever is in the path of the socket.
func TestTryLineOverAPercentSign(t *testing.T) {
	line := tryLine("http://localhost", "/run/50%d.sock", "secret")
	if !strings.HasPrefix(line, "curl -N --unix-socket /run/50%d.sock -H 'Authorization: Bearer secret' ") {
		t.Error(line)
	}
}
