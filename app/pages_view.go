package main

import (
	"embed"
	"fmt"
	"html/template"
	"strings"
	"time"

	"frenchpress/db"
)

//go:embed templates/*.html
var templateFiles embed.FS

// pages holds every page, parsed once; a broken template stops the start.
var pages = template.Must(template.ParseFS(templateFiles, "templates/*.html"))

// head is what every page's <head> needs. Script names a module under /static/, empty for none.
type head struct {
	Title  string
	Script string
}

// Modules are what the script imports, so that a browser fetches them at once and not one after another.
func (h head) Modules() []string { return moduleGraphs[h.Script] }

// storeView is a store as the pages show it. Times are shown in Zone.
type storeView struct {
	Slug, Name, Address string
	Zone                *time.Location
	Currency            string
	Paused, Accepting   bool
	OpensAt             time.Time // when it takes orders again, zero when it does or nobody knows
	WaitMinutes         int
}

// pager leads through a list that is longer than a page.
type pager struct {
	Path, Query string // of the list
	More        string // what the way on is called
	Next        string // cursor of the next page, empty on the last
	After       bool   // this is not the first page
}

// storesPage is the chooser ("stores").
type storesPage struct {
	head
	pager
	Stores []storeView
}

// menuPage is a store's menu ("menu").
type menuPage struct {
	head
	Store      storeView
	Categories []categoryView
}

type categoryView struct {
	Name  string
	Items []itemView
}

// itemView is an item on the printed menu; what can be chosen of it, the script reads from the API.
type itemView struct {
	ID, Name, Description string
	Image                 string // a path under /static/art/, empty for the fallback
	From                  int64  // lowest price in minor units
	Sizes                 int
	Currency              string
	Available             bool
	Back                  string // "back at 3:15 pm", empty when nobody knows
}

// orderPage is a customer's status page ("order"). The order itself needs its token, which only the script has.
type orderPage struct {
	head
	Store storeView
	Order string
}

// boardPage is a store's board ("board").
type boardPage struct {
	head
	Store storeView
}

// doorPage is the staff's door ("sign-in", "forgot", "reset"). Fault is empty at the first try; Wait is in seconds
// when throttled.
type doorPage struct {
	head
	Name  string
	Note  string
	Fault string
	Wait  int
	Then  string // where who comes in wanted to go
}

// staffPage is the staff home ("staff").
type staffPage struct {
	head
	pager
	Name          string
	Admin         bool
	DeadLetters   int
	FailedRefunds int
	Differences   int
	Stores        []storeView
	Find          findView
}

// findView is the order that somebody looks for, in their own words, and why it was not found.
type findView struct {
	Store, Number, Day, Order string
	Fault                     string
}

// paymentsPage is what the provider's books and ours differ in ("payments").
type paymentsPage struct {
	head
	Ran         string // when they were compared last, or never
	Differences []differenceView
}

// differenceView is one difference, in amounts of its currency where that is known.
type differenceView struct {
	Words, Intent, Since string
	Ours, Provider       string
	Store, Story         string // Story is the address of the order's page; both empty without an order
}

// storyPage tells all that happened to one order ("story"), oldest first.
type storyPage struct {
	head
	Store   storeView
	Order   string
	Number  int
	Status  string
	Total   string
	Entries []storyEntry
	Refund  refundForm
}

// refundForm gives back what is left of an order. Without lines there is nothing to give back; Open says that a refund
// is on its way or has failed, Failed that one has.
type refundForm struct {
	Version  int
	Open     bool
	Failed   bool
	Lines    []refundLine
	Tip      string // empty when there is none to give back
	TipAsked bool
	Reason   string
	Faults   []string
}

type refundLine struct {
	Name, Price           string
	Left, Quantity, Asked int
}

// refundsPage is what the provider would not give back ("refunds").
type refundsPage struct {
	head
	pager
	Refunds []failedRefund
	Fault   string
}

// failedRefund is one refund that waits for staff. Order is the address of the order's story.
type failedRefund struct {
	Order, Store, Customer string
	Number, N, Tries       int
	Amount, Failure        string
	Reason, By             string
	Since                  time.Time
}

// When is since when it waits.
func (f failedRefund) When() string { return f.Since.UTC().Format("2 January 2006, 15:04") }

// Stamp is that for machines.
func (f failedRefund) Stamp() string { return f.Since.UTC().Format(time.RFC3339) }

// storyEntry is one thing that happened. Kind is request, state, charge, refund, ledger, job or notification.
type storyEntry db.StoryEntry

// faultPage is every page that could not be shown ("fault").
type faultPage struct {
	head
	Status    int
	Words     string
	RequestID string
	Staff     bool // whether staff asked, whose way on is to their home
}

// Drawing is the picture of an item: the one its menu names, else the one called like the item or like
// a word of its id ("oat-latte" is drawn as a latte), else a paper cup.
func (i itemView) Drawing() string {
	names := append([]string{i.ID}, strings.Split(i.ID, "-")...)
	if named, ours := strings.CutPrefix(i.Image, "/static/art/"); ours {
		names = append([]string{strings.TrimSuffix(named, ".svg")}, names...)
	}
	for _, name := range names {
		if _, drawn := staticFiles["art/"+name+".svg"]; drawn {
			return "/static/art/" + name + ".svg"
		}
	}
	return "/static/art/cup.svg"
}

// Price is "$4.50", or "from $4.50" when it depends on the size.
func (i itemView) Price() string {
	price := money(i.From, i.Currency)
	if i.Sizes > 1 {
		return "from " + price
	}
	return price
}

// State is a word for the style sheet: open, paused or closed.
func (s storeView) State() string {
	switch {
	case s.Paused:
		return "paused"
	case s.Accepting:
		return "open"
	default:
		return "closed"
	}
}

// shortBreak is how long a pause at most is to be called a short one.
const shortBreak = time.Hour

// Short tells whether a paused store takes orders again soon.
func (s storeView) Short() bool { return !s.OpensAt.IsZero() && time.Until(s.OpensAt) <= shortBreak }

// Words says in one line whether the store takes orders and how long they take. static/store_words.js says the same.
func (s storeView) Words() string {
	switch s.State() {
	case "paused":
		return s.pause()
	case "open":
		if s.WaitMinutes < 1 {
			return "Open now, no wait"
		}
		return fmt.Sprintf("Open now, about %d min", s.WaitMinutes)
	}
	if s.OpensAt.IsZero() {
		return "Closed now"
	}
	return "Closed, opens " + s.Opens()
}

func (s storeView) pause() string {
	switch {
	case s.OpensAt.IsZero():
		return "Taking a break"
	case s.Short():
		return "Taking a short break until " + s.Opens()
	}
	return "Taking a break until " + s.Opens()
}

// Opens is when a store that takes no orders does so again, empty when nobody knows.
func (s storeView) Opens() string {
	if s.OpensAt.IsZero() {
		return ""
	}
	return moment(s.OpensAt, time.Now(), s.Zone)
}

// OpensWhen is Opens in the midst of a sentence.
func (s storeView) OpensWhen() string {
	if s.OpensAt.IsZero() {
		return ""
	}
	return when(s.OpensAt, time.Now(), s.Zone)
}

// Symbol is how the script, too, writes the store's currency.
func (s storeView) Symbol() string { return currencyOf(s.Currency).symbol }

// Digits is the number of decimal places of the store's currency.
func (s storeView) Digits() int { return currencyOf(s.Currency).digits }

// Tips are the amounts offered, in minor units, parted by commas.
func (s storeView) Tips() string {
	if s.Digits() == 0 {
		return "50,100,200"
	}
	unit := 1
	for range s.Digits() {
		unit *= 10
	}
	return fmt.Sprintf("%d,%d,%d", unit/2, unit, 2*unit)
}

// Time is the entry's time of day to the millisecond, which is how causes are told from effects.
func (e storyEntry) Time() string { return e.At.UTC().Format("15:04:05.000") }

// Stamp is the entry's time for machines.
func (e storyEntry) Stamp() string { return e.At.UTC().Format(time.RFC3339Nano) }

// Day is the entry's date.
func (e storyEntry) Day() string { return e.At.UTC().Format("2 January 2006") }
