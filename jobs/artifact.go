package jobs

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Artifacts account for the files that jobs leave. See Store for what all methods
// promise.
type Artifacts interface {
	// HoldArtifact renews the lease and keeps room for an artifact that is on its
	// way, between h.Least and h.Most bytes; *LimitError if there is less. Of the
	// client's bound it takes what the artifact has beyond one of the same name.
	// With an ID that is held already it changes how much. Holds are kept in
	// memory alone: a restart drops them.
	HoldArtifact(ctx context.Context, l Lease, h Hold) (held int64, r Receipt, err error)

	// DropHold gives the room of a hold back; one that is gone already is no error.
	DropHold(ctx context.Context, id string) error

	// AddArtifact commits job.artifact of a running job, renews the lease and ends
	// the hold a.Hold, if there is one. An artifact of the same name is replaced:
	// its file becomes garbage, and the receipt names it. *ConflictError if the
	// job has MaxArtifacts others, *LimitError if there is no room, ErrArtifactChanged
	// if only, unless nil, names another one than there is.
	AddArtifact(ctx context.Context, l Lease, a StoredArtifact, only *Replaced) (Receipt, error)

	// Artifact returns one artifact of a job. ErrNoArtifact if the job has none
	// of this name.
	Artifact(ctx context.Context, client, jobID, name string) (StoredArtifact, error)

	// Garbage returns files of artifacts that were replaced or pruned, in order of
	// their names those after one, at most limit, until ForgetGarbage says that they
	// are deleted. Their bytes count as the storage's as long.
	Garbage(ctx context.Context, after string, limit int) (files []string, err error)
	ForgetGarbage(ctx context.Context, files []string) error

	// KnownFiles returns those of files that belong to an artifact.
	KnownFiles(ctx context.Context, files []string) ([]string, error)
}

// Limits on what a job may leave behind.
const (
	MaxArtifacts     = 50        // of one job: they all stand in its job.completed
	MaxArtifactName  = 128       // bytes
	MaxArtifactBytes = 100 << 20 // of one artifact
)

const (
	sniffBytes   = 512         // of a file: its content type is guessed from them
	copyBuffer   = 64 << 10    // bytes read at a time
	minRenewal   = time.Second // between two renewals of a lease while an artifact is read
	holdStep     = 1 << 20     // bytes that room is asked for at once while it is not known how many come
	openTries    = 5           // looks at an artifact that is replaced all the time
	garbageBatch = 200         // files removed between two commands
)

// Files keeps the bytes of artifacts.
type Files interface {
	// Create begins a file that nobody can see.
	Create() (Draft, error)
	// Open opens a file that was kept.
	Open(id string) (File, error)
	// Remove deletes a file; one that is gone already is no error. ErrInUse while
	// it is read, because the disk would keep its bytes all the same.
	Remove(id string) error
}

// File is a file that was kept. It never changes.
type File interface {
	io.ReadSeekCloser
	Stat() (fs.FileInfo, error)
}

// Draft is a file that is being written. Either Keep or Discard ends it;
// Discard after Keep does nothing. Errors wrap ErrStorageFull if that is why.
type Draft interface {
	io.Writer
	// Keep makes the file durable and returns its id.
	Keep() (id string, err error)
	Discard()
}

// ErrInUse: a file is being read and cannot be removed yet.
var ErrInUse = errors.New("the file is being read")

// ErrNoArtifact: the job has no artifact of this name.
var ErrNoArtifact = fmt.Errorf("no such artifact: %w", ErrNotFound)

// ErrTooLarge: an artifact has more than MaxArtifactBytes.
var ErrTooLarge = fmt.Errorf("an artifact must not be larger than %d bytes", MaxArtifactBytes)

// ErrArtifactChanged: the artifact of this name is another than the one that was
// to be replaced, or one is there where none was.
var ErrArtifactChanged = errors.New("the artifact has changed in the meantime")

// StoredArtifact is an artifact and where its bytes are.
type StoredArtifact struct {
	Artifact
	File   string   // id in Files
	Hold   string   // id of the room that was held for it; empty: none was
	Digest [32]byte // SHA-256 of the bytes
	// Modified is when the file was written, by its own clock. Stores do not know it;
	// Service.OpenArtifact does.
	Modified time.Time
}

// Replaced says which artifact of its name a new one may replace. Nil: any.
type Replaced struct {
	File string // id in Files; empty: there must be none
}

// Saved acknowledges an artifact.
type Saved struct {
	Artifact StoredArtifact
	Receipt  Receipt
}

// ValidArtifactName reports whether name is [A-Za-z0-9._-]{1,128} and neither
// "." nor "..".
func ValidArtifactName(name string) bool {
	if name == "" || len(name) > MaxArtifactName || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if letter := c | 0x20; (letter < 'a' || letter > 'z') && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ArtifactURL is where an artifact can be fetched, a path of this server, which begins
// with base.
func ArtifactURL(base, jobID, name string) string {
	return base + "/v1/jobs/" + jobID + "/artifacts/" + name
}

// SaveArtifact reads r to its end into an artifact of a running job and commits
// job.artifact. An artifact of the same name is replaced at once. While it
// reads, it renews the lease: whoever sends is alive. contentType is what the
// sender calls it, and may be empty; size is how many bytes r has, or negative if
// that is not known. Room is held before anything is read, or as it is read, and
// nothing is left of what is refused.
//
// allow, unless it is nil, gets the artifact of this name as it is, or nil, and
// refuses with its error before anything is read. What it has allowed replaces that
// artifact and no other: ErrArtifactChanged if another came meanwhile.
//
// Errors: those of r and allow, ErrTooLarge, ErrLeaseLost, ErrStorageFull,
// *LimitError if there is no room, and *ConflictError if the job has MaxArtifacts
// others; *InvalidError for a name that is none.
func (s *Service) SaveArtifact(ctx context.Context, l Lease, name, contentType string, size int64, r io.Reader,
	allow func(*StoredArtifact) error,
) (Saved, error) {
	if !ValidArtifactName(name) {
		return Saved{}, &InvalidError{[]FieldError{{"/name", "must be 1 to 128 characters of A-Z, a-z, 0-9, dot, underscore and hyphen"}}}
	}
	if s.files == nil {
		return Saved{}, errors.New("this service does not store artifacts")
	}
	if size > MaxArtifactBytes {
		return Saved{}, ErrTooLarge
	}
	in := &incoming{ctx: ctx, r: r, store: s.store, lease: l, hold: Hold{ID: rand.Text(), Name: name}}
	defer in.drop()
	if err := in.ask(max(size, 0), max(size, 0)); err != nil { // before anything is read: most refusals show here
		return Saved{}, err
	}
	only, err := s.allowed(ctx, l, name, allow)
	if err != nil {
		return Saved{}, err
	}
	draft, err := s.files.Create()
	if err != nil {
		return Saved{}, err
	}
	defer draft.Discard()
	a := StoredArtifact{Artifact: Artifact{Name: name, URL: ArtifactURL(s.basePath, l.JobID, name)}, Hold: in.hold.ID}
	if err := a.read(draft, in, contentType); err != nil {
		return Saved{}, err
	}
	if a.File, err = draft.Keep(); err != nil {
		return Saved{}, fmt.Errorf("keep artifact: %w", err)
	}
	receipt, err := s.store.AddArtifact(ctx, l, a, only)
	if err == nil {
		in.hold.ID = "" // has ended with the command
		s.removeReplaced(ctx, receipt.Replaced)
		return Saved{a, receipt}, nil
	}
	if refused(err) || errors.Is(err, ErrStorageFull) {
		s.removeFile(a.File)
	} // else the commit's fate is open, and the next start sweeps what it left
	return Saved{}, err
}

// allowed asks whether the artifact of a name may be replaced, and says which.
func (s *Service) allowed(ctx context.Context, l Lease, name string, allow func(*StoredArtifact) error) (*Replaced, error) {
	if allow == nil {
		return nil, nil
	}
	a, file, err := s.OpenArtifact(ctx, l.Client, l.JobID, name)
	if errors.Is(err, ErrNoArtifact) {
		return &Replaced{}, allow(nil)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // nothing was read
	return &Replaced{a.File}, allow(&a)
}

// removeReplaced deletes the file of an artifact that another has replaced, if
// there was one. It is not left to the next sweep: who replaces again and again
// would fill the disk meanwhile with what nobody's bound counts.
func (s *Service) removeReplaced(ctx context.Context, id string) {
	if id == "" {
		return
	}
	err := s.files.Remove(id)
	if err == nil {
		err = s.store.ForgetGarbage(context.WithoutCancel(ctx), []string{id})
	}
	if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrInUse) {
		s.log.Warn("a replaced file waits for the next sweep", "file", id, "error", err)
	}
}

func (s *Service) removeFile(id string) {
	if err := s.files.Remove(id); err != nil {
		s.log.Warn("a file waits for the next start to be removed", "file", id, "error", err)
	}
}

// read copies in to its end into d and notes what it was.
func (a *StoredArtifact) read(d Draft, in io.Reader, contentType string) error {
	buffered := bufio.NewReaderSize(in, copyBuffer)
	head, err := buffered.Peek(sniffBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read artifact: %w", err)
	}
	a.ContentType = contentTypeOf(contentType, head)
	digest := sha256.New()
	a.Size, err = io.Copy(io.MultiWriter(d, digest), io.LimitReader(buffered, MaxArtifactBytes+1))
	if err != nil {
		return fmt.Errorf("read artifact: %w", err)
	}
	if a.Size > MaxArtifactBytes {
		return ErrTooLarge
	}
	a.Digest = [32]byte(digest.Sum(nil))
	return nil
}

// incoming is an artifact on its way. It renews the lease before half of its time
// is over, and gives no byte for which there is no room.
type incoming struct {
	ctx   context.Context
	r     io.Reader
	store Store
	lease Lease
	next  time.Time // of the next renewal
	hold  Hold
	held  int64 // bytes there is room for
	n     int64 // bytes read
}

// renewed notes that the lease lasts so long from a time on.
func (in *incoming) renewed(sent time.Time, lasts time.Duration) {
	in.next = sent.Add(lasts / 2)
	if soonest := time.Now().Add(minRenewal); in.next.Before(soonest) {
		in.next = soonest
	}
}

// ask holds room for least to most bytes, which also renews the lease.
func (in *incoming) ask(least, most int64) error {
	in.hold.Least, in.hold.Most = least, most
	sent := time.Now()
	held, receipt, err := in.store.HoldArtifact(in.ctx, in.lease, in.hold)
	if err == nil {
		in.held = held
		in.renewed(sent, receipt.Lasts)
	}
	return err
}

// drop gives the room back that is still held.
func (in *incoming) drop() {
	if in.hold.ID == "" {
		return
	}
	_ = in.store.DropHold(context.WithoutCancel(in.ctx), in.hold.ID) // fails only with the whole store
}

func (in *incoming) Read(p []byte) (int, error) {
	if sent := time.Now(); sent.After(in.next) {
		receipt, err := in.store.Extend(in.ctx, in.lease)
		if err != nil && refused(err) {
			return 0, err
		}
		in.renewed(sent, receipt.Lasts) // after trouble: soon again
	}
	n, err := in.r.Read(p)
	if in.n += int64(n); in.n > in.held && in.n <= MaxArtifactBytes {
		if err := in.ask(in.n, min(in.n+holdStep, MaxArtifactBytes)); err != nil {
			return 0, err
		}
	}
	return n, err
}

// OpenArtifact opens an artifact of a job of client. The caller closes the file.
// ErrNotFound if the job is not there, ErrNoArtifact if only the artifact is not.
func (s *Service) OpenArtifact(ctx context.Context, client, job, name string) (StoredArtifact, File, error) {
	if s.files == nil {
		return StoredArtifact{}, nil, ErrNoArtifact
	}
	for tries := 1; ; tries++ {
		a, err := s.store.Artifact(ctx, client, job, name)
		if err != nil {
			return StoredArtifact{}, nil, err
		}
		file, err := s.files.Open(a.File)
		if err == nil {
			if info, err := file.Stat(); err == nil {
				a.Modified = info.ModTime()
			}
			return a, file, nil
		}
		// It may have been replaced or deleted since it was looked up.
		if !errors.Is(err, fs.ErrNotExist) || tries == openTries {
			return StoredArtifact{}, nil, fmt.Errorf("open artifact %s of job %s: %w", name, job, err)
		}
	}
}

// RemoveGarbage deletes the files of artifacts that were replaced or whose job
// is gone, but for those that are being read. It returns how many.
func (s *Service) RemoveGarbage(ctx context.Context) (int, error) {
	removed, after := 0, ""
	for s.files != nil {
		ids, err := s.store.Garbage(ctx, after, garbageBatch)
		if err != nil || len(ids) == 0 {
			return removed, err
		}
		after = ids[len(ids)-1]
		gone := make([]string, 0, len(ids))
		for _, id := range ids {
			switch err := s.files.Remove(id); {
			case err == nil:
				gone = append(gone, id)
			case !errors.Is(err, ErrInUse):
				return removed, err
			}
		}
		if len(gone) == 0 {
			continue
		}
		if err := s.store.ForgetGarbage(ctx, gone); err != nil {
			return removed, err
		}
		removed += len(gone)
	}
	return removed, nil
}
