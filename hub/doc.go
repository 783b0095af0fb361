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
//     past a hole: falling off the tail means reading the store again. Publishers
//     need not agree on an order: the hub goes by epoch and seq, as drawn below.
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
//
// A tail takes events from any number of publishers, and word of events from Advance. An
// event at or below its head, of the same epoch, is dropped. Its states
// (tail.epoch, tail.gap, gap.unsure):
//
//	unknown ───── the first event, Advance or Reader.Open ─────▶ contiguous
//	contiguous ── an event beyond head + 1, or Advance ────────▶ with a gap
//	with a gap ── filled by publishers, or read ───────────────▶ contiguous
//	any ───────── another epoch, Recheck, a read that denies it ▶ in doubt
//	in doubt ──── the log contains what was seen ──────────────▶ contiguous, or with a gap
//	in doubt ──── it does not ─────────────────────────────────▶ empty, in a new generation
//
// A gap is read after 50 ms, or at once if Advance told of it. What is held meanwhile is
// at most as much as one page. A gap that one page does not fill is left to the readers:
// the tail begins anew behind it. A tail is in doubt until the store has judged the newest
// cursor that the hub has seen. If the log lost that, the tail is thrown away, and before a
// subscription reads on, the store judges where it stands. If the log lost that place
// too, each of its rooms is joined anew at its own cursor, with a reset if that is lost.
package hub
