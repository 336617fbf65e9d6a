package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

const (
	// patience bounds one wait of a browser test. A refund takes the sandbox up to 15 s.
	patience = 20 * time.Second

	phone, tablet, desktop = 390, 820, 1440 // widths in CSS pixels
)

// TestBrowser uses the pages as people do. There is one Chromium; every part has a shop of its own, and every
// person in it a window with a memory of its own.
func TestBrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	parts := map[string]func(*testing.T, *browser){
		"Coffee":         browseCoffee,
		"Declined":       browseDeclined,
		"PriceChanged":   browsePriceChanged,
		"SlotFull":       browseSlotFull,
		"SoldOutLine":    browseSoldOutLine,
		"Shut":           browseShut,
		"LostAnswer":     browseLostAnswer,
		"Undo":           browseUndo,
		"CancelReason":   browseCancelReason,
		"SoldOut":        browseSoldOut,
		"Offline":        browseOffline,
		"LostResult":     browseLostResult,
		"Revoked":        browseRevoked,
		"Staff":          browseStaff,
		"CustomersPages": browseCustomersPages,
		"BoardsPages":    browseBoardsPages,
		"StaffsPages":    browseStaffsPages,
		"Motion":         browseMotion,
		"Messages":       browseMessages,
		"Forgotten":      browseForgotten,
		"Receipt":        browseReceipt,
		"Tomorrow":       browseTomorrow,
		"Pauses":         browsePauses,
		"FarAway":        browseFarAway,
		"Times":          browseTimes,
		"Parts":          browseParts,
		"CancelQuestion": browseCancelQuestion,
		"AskAgain":       browseAskAgain,
		"DoubleTap":      browseDoubleTap,
		"Gateway":        browseGateway,
		"StrangersLink":  browseStrangersLink,
		"NoMemory":       browseNoMemory,
		"Steady":         browseSteady,
	}
	if os.Getenv(picturesSetting) != "" {
		parts["Pictures"] = takePictures
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, b)
		})
	}
}

type browser struct {
	ctx    context.Context
	people atomic.Int64
}

// openBrowser starts a Chromium with a profile of its own, which ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() { ends(t, "Chromium", func() { end(); stop() }) })
	// The start itself gets no deadline, for that would be one for all that comes.
	late := time.AfterFunc(patience, end)
	if err := chromedp.Do(ctx); !late.Stop() || err != nil {
		t.Fatalf("Chromium has not started within %v: %v", patience, err)
	}
	return &browser{ctx: ctx}
}

// ends makes an end of something that may not come to it.
func ends(t *testing.T, what string, end func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		end()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("%s has not ended within %v", what, patience)
	}
}

// chromium finds a browser where .ci/setup does.
func chromium(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, name := range []string{
		"headless_shell", "headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"/snap/bin/chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
	} {
		// Ubuntu's chromium-browser may be a script that only says how to get one.
		if path, err := exec.LookPath(name); err == nil && exec.CommandContext(ctx, path, "--version").Run() == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: run .ci/setup chromium, or install chromium (Ubuntu: chromium-browser, macOS: google-chrome)")
	return ""
}

// tab is a window of one person's browser.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string // of the shop

	said []chromedp.ConsoleMessage // by the console; to be read when the window is closed
	// refusals are parts of what the browser itself, not a page, may write: of a status that is expected, say.
	refusals []string
}

// tab opens a window for somebody new, who comes to the shop by a name that nobody else uses for it, and so has
// no cookies and no memory of anybody else. Whatever the pages write to the console there fails the test.
func (b *browser) tab(t *testing.T, s *shop, width int64, refusals ...string) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewWindow(false)) // a window takes longer than the page in it
	name := fmt.Sprintf("person%d.localhost", b.people.Add(1))
	p := &tab{t: t, ctx: ctx, url: strings.Replace(s.URL, "127.0.0.1", name, 1), refusals: refusals}
	late := time.AfterFunc(patience, end) // as in openBrowser
	p.do(chromedp.Do(ctx))
	late.Stop()
	console := chromedp.Console(ctx)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for message, err := range console {
			if err != nil {
				return
			}
			p.said = append(p.said, message)
		}
	}()
	t.Cleanup(func() {
		ends(t, "a window", func() { end(); <-heard })
		p.checkConsole()
	})
	p.width(width)
	invoke(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return p
}

func (p *tab) checkConsole() {
	for _, message := range p.said {
		expected := message.Source != "" && slices.ContainsFunc(p.refusals, func(part string) bool { return strings.Contains(message.Text, part) })
		if !expected {
			p.t.Errorf("the console at %s says %s (%s) %q", message.URL, message.Type, message.Source, message.Text)
		}
	}
}

func (p *tab) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// invoke sends the tab a command of the DevTools protocol.
func invoke[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	p.do(err)
	return result
}

// width makes the window this wide and as high as such a device is.
func (p *tab) width(width int64) {
	p.t.Helper()
	height := map[bool]int64{true: 844, false: 960}[width < tablet]
	invoke(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < tablet,
	})
}

// open goes to a page of the shop.
func (p *tab) open(path string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.do(chromedp.Do(ctx, chromedp.Navigate(p.url+path)))
}

// evalNow is the value of an expression in the page. While a page goes and another comes there is none, and so
// for an expression that fails.
func evalNow[T any](p *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](fmt.Sprintf(pageHelp, expression)))
}

// eval is evalNow of what must have a value.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := evalNow[T](p, expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// pageHelp is what expressions may use. find is the first element of a selector that can be seen and says
// the words; spot is where to press it, if nothing lies over it and it can be pressed; missed tells whether the press
// was not a click on it, for it had moved meanwhile. An element that was drawn anew is no other.
const pageHelp = `(() => {
const say = (e) => (e.innerText || e.getAttribute('aria-label') || '').replace(/\s+/g, ' ').trim();
const seen = (e) => e.checkVisibility({ visibilityProperty: true });
const find = (css, words) => [...document.querySelectorAll(css)].find((e) => seen(e) && say(e).includes(words));
const off = (e) => e.disabled || e.getAttribute('aria-disabled') === 'true';
const spot = (css, words) => {
  const e = document.readyState === 'complete' && find(css, words); // before that no script listens
  if (!e || off(e)) return null;
  e.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
  const box = e.getBoundingClientRect();
  const at = [box.left + box.width / 2, box.top + box.height / 2];
  if (!within(e, document.elementFromPoint(...at))) return null;
  if (!window.aimed) addEventListener('click', (press) => { window.hit = window.aimed(press.target); }, true);
  window.aimed = (pressed) => within(e.isConnected ? e : find(css, words), pressed);
  window.hit = false;
  return at;
};
const within = (e, other) => Boolean(e) && (e === other || e.contains(other) || other?.closest('label')?.control === e);
const missed = () => window.hit === false; // a new page knows of nothing
return (%s);
})()`

// js writes a call of a JavaScript function.
func js(function string, arguments ...any) string {
	written := make([]string, len(arguments))
	for i, argument := range arguments {
		data, err := json.Marshal(argument)
		if err != nil {
			panic(err) // only strings and numbers come here
		}
		written[i] = string(data)
	}
	return function + "(" + strings.Join(written, ", ") + ")"
}

// shownNow is where somebody is and what is to be read there, in short.
const shownNow = `location.pathname + ': ' + [...document.querySelectorAll('h1, dialog[open], .side, .notice, .news, .ticket, [role="alert"]')].filter(seen).map((e) => say(e).slice(0, 300)).join(' | ')`

// until waits for an expression to be true, and fails with what the page shows when it does not become so.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	p.becomes(what, func() (bool, error) { return evalNow[bool](p, "Boolean("+expression+")") })
}

func (p *tab) becomes(what string, holds func() (bool, error)) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if is, err := holds(); is && err == nil {
			return
		} else if errors.Is(err, context.Canceled) || time.Now().After(end) {
			shown, _ := evalNow[string](p, shownNow)
			p.t.Fatalf("after %v still not: %s (%v)\nThe page is %s", patience, what, err, shown)
		}
	}
}

// sees waits for an element that says the words.
func (p *tab) sees(css, words string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%q at %s", words, css), js("find", css, words))
}

// misses waits until there is no such element.
func (p *tab) misses(css, words string) {
	p.t.Helper()
	p.until(fmt.Sprintf("no %q at %s", words, css), "!"+js("find", css, words))
}

// text is what an element says.
func (p *tab) text(css string) string {
	p.t.Helper()
	p.sees(css, "")
	return eval[string](p, "say("+js("find", css, "")+")")
}

// tap presses the element that says the words, as soon as it can be pressed and stands still.
func (p *tab) tap(css string, words ...string) {
	p.t.Helper()
	place := js("spot", css, strings.Join(words, " "))
	for range tapTries {
		var at []float64
		p.becomes(fmt.Sprintf("%s %v can be pressed", css, words), func() (bool, error) {
			before := at
			var err error
			at, err = evalNow[[]float64](p, place)
			return err == nil && at != nil && slices.Equal(before, at), err
		})
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		p.do(chromedp.Do(ctx, chromedp.MouseClickXY(at[0], at[1])))
		cancel()
		if missed, err := evalNow[bool](p, "missed()"); err != nil || !missed {
			return
		}
		p.t.Logf("%s %v had moved when it was pressed", css, words)
	}
	p.t.Fatalf("%s %v moves away each time it is pressed", css, words)
}

// tapTries bounds the presses that a moving page made miss.
const tapTries = 5

// fill types into a field in place of what it holds.
func (p *tab) fill(css, words string) {
	p.t.Helper()
	p.tap(css)
	eval[chromedp.Void](p, js("document.querySelector", css)+".select()")
	invoke(p, input.InsertText, input.InsertTextParams{Text: words})
}

// press types a key of the keyboard.
func (p *tab) press(key string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.do(chromedp.Do(ctx, chromedp.KeyEvent(key)))
}

// offline cuts the window off from the network, or lets it back.
func (p *tab) offline(is bool) {
	p.t.Helper()
	everything := &network.Conditions{Offline: is, DownloadThroughput: -1, UploadThroughput: -1}
	invoke(p, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: []*network.Conditions{everything}})
	invoke(p, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: is, DownloadThroughput: -1, UploadThroughput: -1})
}

// loseAnswer lets the next request to an address reach the shop, and then loses what it answers. What it
// returns waits until that has happened.
func (p *tab) loseAnswer(address string) (lost func()) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	answers := chromedp.Events(ctx, fetch.RequestPaused)
	invoke(p, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*" + address, RequestStage: fetch.RequestStageResponse}}})
	return func() {
		p.t.Helper()
		defer cancel()
		for answer, err := range answers {
			p.do(err)
			invoke(p, fetch.FailRequest, fetch.FailRequestParams{RequestID: answer.RequestID, ErrorReason: network.ErrorReasonConnectionReset})
			break
		}
		invoke(p, fetch.Disable, cdp.Empty{})
	}
}
