package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// lineMax bounds a line of the books with its end; an intent and a refund with all the metadata they can have, all of
	// it escaped, make one of about a third of it.
	lineMax = 1 << 20
	// readAhead is more than nearly every line has, so that one read brings a line.
	readAhead = 2 << 10
	// markEvery is how far apart the lines are whose place is remembered, so that a reader of the ledger starts near its own.
	markEvery = 1024
	// As many zeros stand ready for the lines to come as there are lines already, within these bounds.
	roomLeast = 64 << 10
	roomMost  = 4 << 20
	// tryAgainAfter is how long a disk that refused something is left alone.
	tryAgainAfter = time.Second
)

var (
	errNoLine = errors.New("no line stands there")
	// errBroken is told once; whoever calls meanwhile is not answered.
	errBroken = errors.New("the sandbox's books could not be written")
)

// books are an append-only file of JSON lines, the only truth, followed by zeros while they are open. Lines appended at the
// same time share an fsync: they are a batch, which an empty line ends. So whatever stands behind an empty line says that
// all before it had come to disk.
type books struct {
	file     *os.File
	log      *slog.Logger
	zerosEnd int64 // how long the file is: lines, then zeros; only write uses it
	kick     chan struct{}
	stopped  chan struct{}
	mended   chan struct{} // closed when the disk takes what it refused when the books broke

	mu        sync.Mutex
	end       int64 // where the next line will stand
	flushed   int64 // up to here all is on disk
	gathering *batch
	writing   *batch
	broken    error // a write failed: memory knows more than the disk, and nothing is taken until the books are opened again
	closed    bool
	marks     []int64 // where every markEvery-th line stands
	lines     int64
}

// batch is what one fsync brings to disk.
type batch struct {
	start int64
	bytes []byte
	done  chan struct{}
	err   error
}

func newBatch(start int64) *batch { return &batch{start: start, done: make(chan struct{})} }

func (b *batch) wait() error {
	<-b.done
	return b.err
}

func newBooks(file *os.File, end int64, log *slog.Logger) *books {
	b := &books{file: file, log: log, zerosEnd: end, end: end, flushed: end, gathering: newBatch(end)}
	b.kick, b.stopped, b.mended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	return b
}

// append puts a line at the end; it is on disk when its batch is done.
func (b *books) append(text []byte) (int64, *batch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return 0, nil, b.broken
	}
	if b.closed {
		return 0, nil, errClosed
	}
	at := b.end
	b.gathering.bytes = append(append(b.gathering.bytes, text...), '\n')
	b.end += int64(len(text)) + 1
	b.mark(at)
	select {
	case b.kick <- struct{}{}:
	default:
	}
	return at, b.gathering, nil
}

func (b *books) mark(at int64) {
	if b.lines%markEvery == 0 {
		b.marks = append(b.marks, at)
	}
	b.lines++
}

func (b *books) write() {
	defer close(b.stopped)
	again := time.NewTicker(tryAgainAfter)
	defer again.Stop()
	broken := false
	for open := true; open; {
		select {
		case _, open = <-b.kick:
			b.flush()
			if !broken && b.why() != nil {
				broken = true
				again.Reset(tryAgainAfter)
			}
		case <-again.C:
			if broken && b.probe() == nil {
				again.Stop()
				close(b.mended)
			}
		}
	}
}

// probe says whether the disk takes lines again.
func (b *books) probe() error {
	_, err := b.file.WriteAt(zeros[:], b.flushed)
	return errors.Join(err, b.file.Sync(), b.file.Truncate(b.flushed))
}

func (b *books) flush() {
	b.mu.Lock()
	now := b.gathering
	if len(now.bytes) == 0 {
		b.mu.Unlock()
		return
	}
	now.bytes = append(now.bytes, '\n')
	b.end++
	b.writing, b.gathering = now, newBatch(b.end)
	b.gathering.bytes = make([]byte, 0, len(now.bytes))
	now.err = b.broken
	b.mu.Unlock()
	if now.err == nil {
		now.err = b.bring(now)
	}
	b.mu.Lock()
	switch {
	case now.err == nil:
		b.flushed = now.start + int64(len(now.bytes))
	case b.broken == nil:
		now.err = fmt.Errorf("%w: %w", errBroken, now.err)
		b.broken = now.err
		b.log.Error("the sandbox takes nothing more until its books are opened again", slog.Any("error", now.err))
	}
	b.writing, now.bytes = nil, nil // lines that are remembered keep their batch
	b.mu.Unlock()
	close(now.done)
}

// bring brings a batch to disk, or else takes it out of the file: whoever opens the books again must not believe
// lines that only the page cache has.
func (b *books) bring(now *batch) error {
	end := now.start + int64(len(now.bytes))
	if err := b.makeRoom(now.start, end); err != nil {
		return err
	}
	_, err := b.file.WriteAt(now.bytes, now.start)
	if err == nil {
		b.zerosEnd = max(b.zerosEnd, end)
		err = syncData(b.file)
	}
	if err != nil {
		return errors.Join(err, b.file.Truncate(now.start))
	}
	return nil
}

// makeRoom has zeros written up to a place and beyond, if the disk has room for them; from is where the lines end. To bring
// lines to disk that stand where zeros were, the file system need not write down that the file has grown, for which every
// other fsync on that disk, PostgreSQL's too, would wait.
func (b *books) makeRoom(from, to int64) error {
	if to <= b.zerosEnd {
		return nil
	}
	for to += min(max(to, roomLeast), roomMost); b.zerosEnd < to; b.zerosEnd += int64(len(zeros)) {
		if _, err := b.file.WriteAt(zeros[:], b.zerosEnd); err != nil {
			b.zerosEnd = from
			return b.file.Truncate(from) // what there is belongs to the lines
		}
	}
	return b.file.Sync()
}

var zeros [roomLeast]byte

// why says why the books are broken, if they are.
func (b *books) why() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

// durable waits until the line at a place is on disk.
func (b *books) durable(at int64) error {
	b.mu.Lock()
	waitFor := b.gathering
	switch {
	case at < b.flushed:
		waitFor = nil
	case b.broken != nil:
		b.mu.Unlock()
		return b.broken
	case at < waitFor.start:
		waitFor = b.writing
	}
	b.mu.Unlock()
	if waitFor == nil {
		return nil
	}
	return waitFor.wait()
}

var reads = sync.Pool{New: func() any { return new([readAhead]byte) }}

// read is the line at a place.
func (b *books) read(at int64) (*line, error) {
	if err := b.durable(at); err != nil {
		return nil, err
	}
	buffer := reads.Get().(*[readAhead]byte)
	defer reads.Put(buffer) // what is read of it is copied
	text := buffer[:]
	for {
		n, err := b.file.ReadAt(text, at)
		if end := bytes.IndexByte(text[:n], '\n'); end >= 0 {
			l := new(line)
			if err := json.Unmarshal(text[:end], l, jsontext.AllowDuplicateNames(true)); err != nil { // there are none; to look costs
				return nil, fmt.Errorf("read the sandbox's books at %d: %w", at, err)
			}
			return l, nil
		}
		if err != nil || len(text) > lineMax {
			return nil, fmt.Errorf("read the sandbox's books at %d: %w", at, errors.Join(errNoLine, err))
		}
		text = make([]byte, 4*len(text))
	}
}

// scan gives the lines on disk from a place on, without their ends, until told to stop.
func (b *books) scan(from int64, each func(text []byte) bool) error {
	b.mu.Lock()
	to := b.flushed
	b.mu.Unlock()
	lines := bufio.NewScanner(io.NewSectionReader(b.file, from, to-from))
	lines.Buffer(make([]byte, 64<<10), lineMax)
	for lines.Scan() {
		if !each(lines.Bytes()) {
			return nil
		}
	}
	return lines.Err()
}

// near is a place at or before the line with a number.
func (b *books) near(seq int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.marks) == 0 {
		return b.end
	}
	return b.marks[min(max(0, seq-1)/markEvery, int64(len(b.marks)-1))]
}

func (b *books) close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	close(b.kick)
	<-b.stopped
	var err error
	if b.broken == nil { // an empty batch says that the last lines had come to disk, too; on a full disk they go without
		switch err = b.bring(&batch{start: b.end, bytes: []byte("\n")}); {
		case err == nil:
			b.mu.Lock()
			b.flushed++
			b.mu.Unlock()
		case errors.Is(err, syscall.ENOSPC):
			err = nil
		}
	}
	return errors.Join(err, b.file.Truncate(b.flushed), b.file.Close())
}
