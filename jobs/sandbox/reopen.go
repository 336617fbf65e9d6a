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
	"os"
	"path/filepath"
	"time"
)

// heading is the first line of the books.
type heading struct {
	Format int    `json:"format"`
	Secret string `json:"secret"` // of the ids
}

const format = 1

// reopen reads the books from their beginning and cuts off what a crash left at the end: zeros, and what was half written.
func (s *Sandbox) reopen(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	end, torn, err := s.readBack(file)
	if err == nil && end == 0 {
		end, err = s.startBooks(file)
	}
	if err == nil && torn > 0 {
		s.log.Warn("the sandbox's books ended in half a line, nobody had an answer to it; it is cut off",
			slog.String("file", path), slog.Int64("at", end), slog.Int64("bytes", torn))
	}
	if err == nil {
		err = errors.Join(file.Truncate(end), file.Sync())
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	lines, marks := s.books.lines, s.books.marks
	s.books = newBooks(file, end)
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
	if err := file.Truncate(0); err != nil {
		return 0, err
	}
	n, err := file.WriteAt(append(text, '\n'), 0)
	if err != nil {
		return 0, err
	}
	dir, err := os.Open(filepath.Dir(file.Name()))
	if err != nil {
		return 0, err
	}
	return int64(n), errors.Join(file.Sync(), dir.Sync(), dir.Close())
}

// readBack brings memory up to the books: where they end, and how many bytes behind it are of no use. A line
// that cannot be read is torn if none that can be follows it, and damage otherwise.
func (s *Sandbox) readBack(file *os.File) (end, torn int64, err error) {
	s.books = &books{}
	lines := bufio.NewReaderSize(file, 1<<20)
	for at := int64(0); ; {
		text, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return end, at + int64(len(text)) - end, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if at == 0 && !s.readHeading(text) {
			return 0, 0, fmt.Errorf("the heading: %w", errDamaged) // whatever this file is, it is not ours to cut
		}
		switch {
		case torn > 0 && readable(text):
			return 0, 0, fmt.Errorf("at byte %d: %w", end, errDamaged)
		case torn == 0 && (at == 0 || s.readLine(text, at)):
			end = at + int64(len(text)) + 1
		default:
			torn = 1
		}
		at += int64(len(text)) + 1
	}
}

// readLine is the next line without its end, valid until the next call; io.EOF comes with what has no end.
func readLine(lines *bufio.Reader) ([]byte, error) {
	text, err := lines.ReadSlice('\n')
	if end := bytes.IndexByte(text, 0); end >= 0 {
		return text[:end], io.EOF // what follows are the zeros of makeRoom
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errDamaged
	}
	return bytes.TrimSuffix(text, []byte("\n")), err
}

func (s *Sandbox) readLine(text []byte, at int64) bool {
	n, ok := frontNumbers(text)
	if !ok || n[nSeq] != s.seq+1 || n[nIntent] > int64(s.intents.len()) || text[len(text)-1] != '}' {
		return false
	}
	s.books.mark(at)
	s.apply(n, at)
	return true
}

func readable(text []byte) bool {
	_, ok := frontNumbers(text)
	return ok
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
