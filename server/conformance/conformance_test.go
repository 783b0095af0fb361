// Package conformance holds every transport of the real program to one suite. It is a
// package of its own because it takes as long as all other tests of a server.
package conformance

import (
	"testing"

	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// TestConformance tells every scenario on every transport over real TCP.
func TestConformance(t *testing.T) {
	transporttest.Run(t, servertest.Boot, transporttest.Transports()...)
}

// TestConformanceInFakeTime tells them in memory and in fake time.
func TestConformanceInFakeTime(t *testing.T) {
	transporttest.RunInFakeTime(t, servertest.Boot, transporttest.Transports()...)
}
