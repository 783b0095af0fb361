package server

import (
	"testing"

	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestConformance tells every scenario on every transport over real TCP.
func TestConformance(t *testing.T) {
	transporttest.Run(t, boot, transporttest.Transports()...)
}

// TestConformanceInFakeTime tells them in memory and in fake time.
func TestConformanceInFakeTime(t *testing.T) {
	transporttest.RunInFakeTime(t, boot, transporttest.Transports()...)
}
