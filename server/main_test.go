package server_test

import (
	"flag"
	"strconv"
	"testing"

	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// rapidChecks is how many stories each property test tells. Every run tells others,
// and `make chaos` tells five times as many.
const rapidChecks = 30

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", strconv.Itoa(rapidChecks*transporttest.Chaos())); err != nil { // the command line still wins
		panic(err)
	}
	servertest.Main(m)
}
