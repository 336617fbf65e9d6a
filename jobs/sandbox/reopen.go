package sandbox

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// heading is the first line of the books.
type heading struct {
	Format int    `json:"format"`
	Secret string `json:"secret"` // of the ids
}

const format = 1

// errDamaged is of a file that a crash of ours cannot have left: it is not ours to cut.
var errDamaged = errors.New("what stands there no crash leaves: restore the file, or move it away to begin anew")

const (
	// tornMax is more than a batch of usual lines has: 8,192 calls of 700 bytes make 6 MB.
	tornMax = 16 << 20
	// sector is what a disk writes as a whole, or not.
	sector = 512
)

// reopen reads the books from their beginning and cuts off what a crash left behind the last line.
func (s *Sandbox) reopen(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	end, ended, err := s.readBack(file)
	if err == nil {
		err = s.cutTorn(file, end)
	}
	switch {
	case err == nil && end == 0:
		end, err = s.startBooks(file)
	case err == nil && !ended:
		end, err = endBatch(file, end)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	lines, marks := s.books.lines, s.books.marks
	s.books = newBooks(file, end, s.log)
	s.books.lines, s.books.marks = lines, marks
	go s.books.write()
	return nil
}

// startBooks writes the heading of new books, and makes sure that the directory knows them.
func (s *Sandbox) startBooks(file *os.File) (int64, error) {
	s.secret = make([]byte, 16)
	rand.Read(s.secret)
	text, err := json.Marshal(heading{Format: format, Secret: hex.EncodeToString(s.secret)})
	if err != nil {
		return 0, err
	}
	n, err := file.WriteAt(append(text, "\n\n"...), 0)
	if err != nil {
		return 0, err
	}
	dir, err := os.Open(filepath.Dir(file.Name()))
	if err != nil {
		return 0, err
	}
	return int64(n), errors.Join(file.Sync(), dir.Sync(), dir.Close())
}

// endBatch says that the lines up to a place are on disk, which they are, before other lines come behind them. On a full disk
// they go without: the books can be read.
func endBatch(file *os.File, at int64) (end int64, err error) {
	n, err := file.WriteAt([]byte("\n"), at)
	if errors.Is(err, syscall.ENOSPC) {
		return at, nil
	}
	return at + int64(n), errors.Join(err, file.Sync())
}

// readBack brings memory up to the books, and says where their last line ends and whether it ends a batch.
func (s *Sandbox) readBack(file *os.File) (end int64, ended bool, err error) {
	s.books = &books{}
	lines := bufio.NewReaderSize(file, lineMax)
	for {
		text, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, false, err
		}
		if err != nil || !s.readLine(text[:len(text)-1], end) {
			return end, ended, nil
		}
		end, ended = end+int64(len(text)), len(text) == 1
	}
}

// readLine takes up the line at a place, if it is the one that comes next.
func (s *Sandbox) readLine(text []byte, at int64) bool {
	switch {
	case at == 0:
		return s.readHeading(text)
	case len(text) == 0: // the end of a batch
		return true
	}
	n, ok := frontNumbers(text)
	if !ok || !s.follows(n) || text[len(text)-1] != '}' || bytes.IndexByte(text, 0) >= 0 {
		return false
	}
	s.books.mark(at)
	s.apply(n, at)
	return true
}

func (s *Sandbox) follows(n *[nNumbers]int64) bool {
	within := func(at int, least, most int) bool { return n[at] >= int64(least) && n[at] <= int64(most) }
	return n[nSeq] == s.seq+1 && within(nIntent, 0, s.intents.len()) && within(nRefund, unchanged, s.refunds.len()) &&
		within(nStatus, 0, len(statuses)-1) && within(nRefundStatus, 0, len(statuses)-1)
}

// cutTorn cuts off what a crash left behind the last line: zeros, and of the batch that was being written those sectors
// that came to disk, to which nobody had an answer. The latter are kept beside the books if there is room.
func (s *Sandbox) cutTorn(file *os.File, end int64) error {
	torn, err := behind(file, end)
	if err != nil {
		return err
	}
	if len(torn) > 0 {
		if end == 0 || !tornByCrash(torn, end) {
			return fmt.Errorf("at byte %d: %w", end, errDamaged)
		}
		kept, err := keepTorn(file.Name(), end, torn)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		s.log.Warn("the sandbox's books ended in lines that a crash tore, nobody had an answer to them; they are cut off",
			slog.String("file", file.Name()), slog.Int64("at", end), slog.Int("bytes", len(torn)), slog.String("kept", kept), slog.Any("error", err))
	}
	return errors.Join(file.Truncate(end), file.Sync())
}

func keepTorn(books string, at int64, torn []byte) (path string, err error) {
	file, err := os.CreateTemp(filepath.Dir(books), fmt.Sprintf("%s.torn-%d-*", filepath.Base(books), at))
	if err != nil {
		return "", err
	}
	_, err = file.Write(torn)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// tornByCrash says whether the line at a place is of the last batch and has no end, or a hole of sectors that were not
// written: the first may have held the end of the line before.
func tornByCrash(text []byte, at int64) bool {
	if ends := bytes.Index(text, []byte("\n\n")); ends >= 0 && ends+2 < len(text) {
		return false
	}
	hole := bytes.IndexByte(text, 0)
	if line := bytes.IndexByte(text, '\n'); hole < 0 || (line >= 0 && line < hole) {
		return line < 0
	}
	holeEnd := len(text) - len(bytes.TrimLeft(text[hole:], "\x00"))
	return (hole == 0 || (at+int64(hole))%sector == 0) && (at+int64(holeEnd))%sector == 0
}

// behind is what stands behind a place, without the zeros at the end.
func behind(file *os.File, at int64) ([]byte, error) {
	var found []byte
	rest := io.NewSectionReader(file, at, math.MaxInt64-at)
	text := make([]byte, 64<<10)
	for zeros := 0; ; {
		n, err := rest.Read(text)
		if some := bytes.TrimRight(text[:n], "\x00"); len(some) > 0 {
			if len(found)+zeros+len(some) > tornMax {
				return nil, fmt.Errorf("at byte %d: %w", at, errDamaged)
			}
			found = append(append(found, make([]byte, zeros)...), some...)
			zeros = n - len(some)
		} else {
			zeros += n
		}
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *Sandbox) readHeading(text []byte) bool {
	var h heading
	if json.Unmarshal(text, &h) != nil || h.Format != format {
		return false
	}
	secret, err := hex.DecodeString(h.Secret)
	s.secret = secret
	return err == nil && len(secret) > 0
}

// frontNumbers reads the numbers at the front of a line; the rest of it is not looked at, which makes opening
// quick.
func frontNumbers(text []byte) (*[nNumbers]int64, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"n":[`))
	if !ok {
		return nil, false
	}
	n := new([nNumbers]int64)
	i, negative := 0, false
	for _, c := range rest {
		switch {
		case c == '-':
			negative = true
		case c >= '0' && c <= '9' && negative:
			n[i] = n[i]*10 - int64(c-'0')
		case c >= '0' && c <= '9':
			n[i] = n[i]*10 + int64(c-'0')
		case c == ',' && i < nNumbers-1:
			i, negative = i+1, false
		default:
			return n, c == ']' && i == nNumbers-1
		}
	}
	return nil, false
}

// resume takes up what was being decided when the books were closed.
func (s *Sandbox) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.intents.len() {
		if s.intents.get(i).status == inProcess {
			s.resumeIntent(i)
		}
	}
	for i := range s.refunds.len() {
		if s.refunds.get(i).status == isPending {
			s.resumeRefund(i)
		}
	}
}

func (s *Sandbox) resumeIntent(index int) {
	l, err := s.lastLine(index)
	if err != nil {
		s.log.Error("an intent in the sandbox's books stays undecided", slog.Int("intent", index), slog.Any("error", err))
		return
	}
	s.decideLater(l)
	if l.N[nKept] == 0 && l.Key != "" {
		s.keys.take(uint64(l.N[nKey]))
	}
}

func (s *Sandbox) resumeRefund(index int) {
	l, err := s.books.read(s.refunds.get(index).at)
	if err != nil {
		s.log.Error("a refund in the sandbox's books stays undecided", slog.Int("refund", index), slog.Any("error", err))
		return
	}
	s.refundLater(index, time.UnixMicro(l.Refund.DecidesAt))
}
