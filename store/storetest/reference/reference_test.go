package reference_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/store"
	"github.com/jobcast/jobcast/store/storetest"
	"github.com/jobcast/jobcast/store/storetest/reference"
)

var _ store.Store = (*reference.Store)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) { storetest.Run(t, harness) }

func TestNodes(t *testing.T) { storetest.RunNodes(t, harness) }

func harness(*testing.T) storetest.Harness {
	data := reference.NewData()
	return storetest.Harness{
		Open: func(o storetest.Options) storetest.Store {
			return reference.Open(data, reference.Options{Node: o.Node, Publisher: o.Publisher, OnChanges: o.OnChanges, Now: o.Now, Limits: o.Limits})
		},
		Manage: func() storetest.Store { return reference.Open(data, reference.Options{}) },
		Save:   data.Copy,
		Break:  data.Break,
	}
}
