// Package hub is the subscription core. It holds the newest part (the tail) of
// every watched client's committed log in memory, and lets any number of
// subscriptions read it, each at its own pace.
//
// The contract, which every transport relies on:
//
//   - Pull, never push. A publish moves a tail and wakes the subscriptions that
//     want it; the hub never waits for a reader. A subscription is a position in
//     a log, not a queue, so a slow reader costs the same memory as a fast one.
//   - Order. A subscription yields the events of its rooms in log order, each
//     once, whether they come from memory or from the store, and never an event
//     past a hole: falling off the tail means reading the store again.
//   - The seam. Join registers with the tail first and reads the store
//     afterwards. What was committed before that read is found by it; what is
//     committed later is published later, into the registered tail. So there is
//     neither a gap nor a doubled event between history and live.
//   - One connection, several rooms. A subscription has one position and moves
//     through the union of its rooms. A room that starts earlier is replayed up
//     to that position while the position stands still.
//
// A member, which is one room of one subscription, comes through these phases:
//
//	reserved ── Hub.enter ──▶ entered ── Reader.Open ──▶ placed ── Started ──▶ replaying ── Live ──▶ live
//	                                                       ▲                                        │
//	                                                       └──── the client's log was pruned ───────┘
//
// It may leave in each of them. Resume puts a member back as placed, replaying or live.
package hub
