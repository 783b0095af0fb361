package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// How commands are gathered into transactions: whatever waits when a commit
// ends makes the next one. See committer.pause for when a commit waits for company.
const (
	batchRows     = 500  // rows after which a batch takes no further command
	queueCommands = 1024 // commands that may wait; callers beyond that wait to enqueue

	stride   = 2 * time.Millisecond // from the start of one commit to that of the next, while that gathers company
	enough   = 16                   // commands that share a commit so well that more are not waited for
	maxFasts = 256                  // commits that do not wait, at most, until it is tried again
)

// command is one change, asked for by one caller.
type command struct {
	at   time.Time          // when it was asked for
	rows int                // about how many event rows it writes
	run  func(*batch) error // runs in the committer, maybe twice: see committer.commit
	drop string             // id of the hold that it ends, whatever becomes of the transaction; empty: none
	err  chan error         // buffered; sent to once, by the committer
}

// committer executes commands, many in one transaction. Its goroutine alone
// uses the writing connection and the state; only it publishes.
type committer struct {
	queue   chan *command // sent to by callers; never closed
	closing chan struct{} // closed by Store.Close
	done    chan struct{} // closed by loop when it has ended

	db        *conn
	st        *state
	limits    jobs.Limits
	publisher eventlog.Publisher
	onBatch   func(int)
	onChanges func([]jobs.Change)
	health    *health
	stale     bool // a COMMIT failed: st must be read again
	broken    bool // db could not read: it is made anew until a commit succeeds
	renew     func(old *conn) (*conn, error)

	checkpointer *checkpointer

	started time.Time // the newest commit
	fasts   int       // commits that do not wait, between two that do
	left    int       // of them still to come
}

// do runs fn in the committer and returns what it returned, once that is durable.
func do[T any](ctx context.Context, c *committer, rows int, fn func(*batch) (T, error)) (T, error) {
	var value, zero T
	cmd := &command{rows: rows, run: func(b *batch) (err error) {
		value, err = fn(b)
		return err
	}}
	answered, err := c.ask(ctx, cmd)
	if !answered { // fn may still be at work
		return zero, err
	}
	return value, err
}

// ask has cmd executed. Without an answer its fate is open, unless that is ErrNotTried
// or ErrClosed.
func (c *committer) ask(ctx context.Context, cmd *command) (answered bool, err error) {
	cmd.at, cmd.err = time.Now(), make(chan error, 1)
	select {
	case <-c.closing:
		return false, jobs.ErrClosed
	default:
	}
	select {
	case c.queue <- cmd:
	case <-c.closing:
		return false, jobs.ErrClosed
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", jobs.ErrNotTried, ctx.Err())
	}
	select {
	case err := <-cmd.err:
		return true, err
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", jobs.ErrUnavailable, ctx.Err())
	case <-c.done:
	}
	select { // the answer may have come just before the end
	case err := <-cmd.err:
		return true, err
	default: // enqueued after the last look into the queue: never ran
		return false, jobs.ErrClosed
	}
}

// loop gathers and commits until closing, then drains the queue.
func (c *committer) loop() {
	defer close(c.done)
	for {
		select {
		case cmd := <-c.queue:
			c.commit(c.gather(cmd))
		case <-c.closing:
			for {
				select {
				case cmd := <-c.queue:
					c.commit(c.gather(cmd))
				default:
					return
				}
			}
		}
	}
}

// gather collects the batch that begins with first.
func (c *committer) gather(first *command) []*command {
	paused := c.pause()
	cmds := c.queued(first)
	if paused {
		c.learn(cmds)
	}
	c.started = time.Now()
	return cmds
}

// pause lets a stride pass since the newest commit and reports whether it did.
// A commit costs about as much CPU as ten events, so when events come from many
// sides, one after the other, it pays to let some of them share one. It is vain
// when all who could come wait for the answer already: see learn.
func (c *committer) pause() bool {
	rest := stride - time.Since(c.started)
	switch {
	case rest <= 0 || len(c.queue) >= enough:
		return false
	case c.left > 0:
		c.left--
		return false
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closing:
	}
	return true
}

// learn judges a pause by whom it brought. Callers who do nothing but wait for
// their answers come back at once or not at all; if few came in the second half
// of the stride, waiting only delays such callers. Each such pause doubles the
// commits that go by until the next one, up to maxFasts; each that paid halves them.
func (c *committer) learn(cmds []*command) {
	late := 0
	for _, cmd := range cmds[1:] {
		if cmd.at.Sub(c.started) >= stride/2 {
			late++
		}
	}
	if late*4 >= len(cmds) {
		c.fasts /= 2
	} else {
		c.fasts = min(max(2*c.fasts, 1), maxFasts)
	}
	c.left = c.fasts
}

// queued returns first and what waits behind it.
func (c *committer) queued(first *command) []*command {
	cmds, rows := []*command{first}, first.rows
	for rows < batchRows && len(cmds) < queueCommands {
		select {
		case cmd := <-c.queue:
			cmds = append(cmds, cmd)
			rows += cmd.rows
		default:
			return cmds
		}
	}
	return cmds
}

// commit runs cmds in one transaction, makes their effects visible and answers
// the callers. If a command breaks, the transaction is rolled back and each
// command runs again in its own, so that only the broken one fails.
func (c *committer) commit(cmds []*command) {
	c.health.began.Store(time.Now().UnixNano())
	defer c.health.began.Store(0)
	errs := make([]error, len(cmds))
	b, err := c.begin()
	if err != nil {
		c.fail(cmds, err)
		return
	}
	b.alone = len(cmds) == 1
	if err := runAll(b, cmds, errs); err != nil {
		c.rollback()
		b.restoreHolds()
		if len(cmds) == 1 {
			c.fail(cmds, err)
			return
		}
		for i := range cmds {
			c.commit(cmds[i : i+1])
		}
		return
	}
	if _, err := c.db.exec("COMMIT"); err != nil {
		c.rollback()
		b.restoreHolds()
		c.stale = true
		c.refuse(cmds, commitError(err))
		return
	}
	// What was committed to files that are gone must neither be acknowledged nor
	// be seen. Should they come back, the log goes on from what they hold.
	if err := c.health.keptSince(); err != nil {
		b.restoreHolds()
		c.stale = true
		c.refuse(cmds, err)
		return
	}
	c.st.apply(b)
	c.broken = false
	c.measure()
	var answered func()
	if len(b.events) > 0 {
		if c.publisher != nil {
			answered = c.publisher.Publish(b.events)
		}
		if c.onBatch != nil {
			c.onBatch(len(b.events))
		}
	}
	if c.onChanges != nil && len(b.changes) > 0 {
		c.onChanges(b.changes)
	}
	answer(cmds, errs, nil)
	if answered != nil {
		answered()
	}
	c.checkpointer.committed(c.db)
}

// fail ends a transaction that stored nothing. What looks corrupt may be a disk that
// did not answer for a moment: that is tried once more.
func (c *committer) fail(cmds []*command, err error) {
	if corrupt(err) && !c.broken {
		c.broken = true
		c.commit(cmds)
		return
	}
	c.refuse(cmds, c.health.storageError(err))
}

// refuse answers all callers with err. Unless it is the fault of their commands, the
// store is in trouble.
func (c *committer) refuse(cmds []*command, err error) {
	if errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, jobs.ErrStorageFull) {
		c.health.refused(err)
	}
	for _, cmd := range cmds {
		if cmd.drop != "" {
			c.st.drop(cmd.drop)
		}
	}
	answer(cmds, nil, err)
}

// begin opens the transaction, after reading the state again if it is in doubt.
func (c *committer) begin() (*batch, error) {
	if err := c.health.keptSince(); err != nil {
		return nil, err
	}
	if c.broken {
		db, err := c.renew(c.db)
		if err != nil {
			return nil, fmt.Errorf("%w: connect again: %w", jobs.ErrUnavailable, err)
		}
		c.db = db
	}
	if c.stale {
		if err := c.st.reload(c.db); err != nil {
			return nil, fmt.Errorf("%w: read the log heads again: %w", jobs.ErrUnavailable, err)
		}
		c.stale = false
	}
	if _, err := c.db.exec(writerTransaction); err != nil {
		c.rollback() // heals a transaction that a failed ROLLBACK left open
		return nil, fmt.Errorf("begin: %w", err)
	}
	return newBatch(c.st, c.db, c.limits), nil
}

// rollback ignores the error: after a full disk or an I/O error SQLite may
// have rolled back by itself, and then there is nothing to roll back.
func (c *committer) rollback() { _, _ = c.db.exec("ROLLBACK") }

// runAll runs cmds and keeps their refusals in errs. It returns the first
// error that is no refusal.
func runAll(b *batch, cmds []*command, errs []error) error {
	for i, cmd := range cmds {
		errs[i] = nil
		err := runOne(b, cmd)
		var no refusal
		if errors.As(err, &no) {
			errs[i] = no.err
			continue
		}
		if err != nil {
			return err
		}
	}
	return b.flush()
}

// runOne turns a panic of a command (it may call a function of the caller,
// such as a back-off) into an error, so that it costs one command, not the process.
func runOne(b *batch, cmd *command) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a store command: %v", p)
		}
	}()
	return cmd.run(b)
}

// answer tells each caller all, or its own error if all is nil.
func answer(cmds []*command, errs []error, all error) {
	for i, cmd := range cmds {
		if all != nil {
			cmd.err <- all
		} else {
			cmd.err <- errs[i]
		}
	}
}
