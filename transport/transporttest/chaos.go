package transporttest

import (
	"os"
	"strconv"
)

// Chaos returns how many times as much as usual the tests do that chance has a part
// in: 1, unless `make chaos` says more by JOBCAST_CHAOS. What they prove is the same;
// what is rare is met more often.
func Chaos() int {
	n, err := strconv.Atoi(os.Getenv("JOBCAST_CHAOS"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}
