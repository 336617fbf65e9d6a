package main

import (
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
	"frenchpress/jobs"
)

// API is what the handlers work with. All of it is safe for concurrent use.
type API struct {
	config  Config
	log     *slog.Logger
	pool    *pgxpool.Pool
	queue   *pgxpool.Pool // on which River fetches and finishes jobs
	secret  []byte
	catalog *db.Catalog
	orders  *db.Orders
	hub     *db.Hub
	jobs    *jobs.Client

	dashboard   http.Handler // River's
	metrics     *metrics
	sessions    *scs.SessionManager
	attempts    *throttle // to get in, with a password or a code
	pairings    *db.Pairings
	crossOrigin *http.CrossOriginProtection
	state       atomic.Pointer[string] // why it cannot serve; nil when it can
	streams     atomic.Int64           // open live streams
	doors       *doors
	room        room       // for orders on their way in
	shed        jobs.Tally // requests refused for want of it
	unavailable jobs.Tally // and for want of something else
}

// Route is one address: what answers it and who gets in.
type Route struct {
	Method  string // anyMethod for all
	Path    string
	Handler echo.HandlerFunc
	Who     who
	Live    bool // a stream without end, which takes its token from the query too
	Memory  bool // answered from memory; what little else it needs is bounded by itself
	Page    bool // for people at a browser
}

const (
	anyMethod    = "*"
	placingRoute = "/v1/stores/:store/orders"
)

// webhookPath is where the provider tells us of things.
const webhookPath = "/v1/payments/webhook"

// routes is every address there is. The access matrix of the tests is made from it.
func (a *API) routes() []Route {
	return []Route{
		{Method: "GET", Path: "/healthz", Handler: a.healthz, Memory: true},
		{Method: "GET", Path: "/readyz", Handler: a.readyz},
		{Method: "GET", Path: "/metrics", Handler: a.metrics.serve, Memory: true},
		{Method: "GET", Path: "/openapi.yaml", Handler: a.openapi, Memory: true},

		{Method: "GET", Path: "/v1/stores", Handler: a.listStores},
		{Method: "GET", Path: "/v1/stores/:store", Handler: a.getStore},
		{Method: "PATCH", Path: "/v1/stores/:store", Handler: a.patchStore, Who: byManager | byAdmin},
		{Method: "GET", Path: "/v1/stores/:store/menu", Handler: a.getMenu, Memory: true},
		{Method: "PUT", Path: "/v1/stores/:store/menu", Handler: a.putMenu, Who: byManager | byAdmin},
		{Method: "GET", Path: "/v1/stores/:store/slots", Handler: a.listSlots},
		{Method: "POST", Path: "/v1/stores/:store/quotes", Handler: a.postQuote},
		{Method: "POST", Path: placingRoute, Handler: a.postOrder},
		{Method: "GET", Path: placingRoute, Handler: a.listOrders, Who: byBarista | byStaff},
		{Method: "GET", Path: "/v1/stores/:store/orders/:id", Handler: a.getOrder, Who: byCustomer | byBarista | byStaff},
		{Method: "POST", Path: "/v1/stores/:store/orders/:id/payment", Handler: a.postPayment, Who: byCustomer | byStaff},
		{Method: "POST", Path: "/v1/stores/:store/orders/:id/cancel", Handler: a.postCancel, Who: byCustomer | byStaff},
		{Method: "POST", Path: "/v1/stores/:store/orders/:id/refunds", Handler: a.postRefund, Who: byStaff},
		{Method: "GET", Path: "/v1/stores/:store/orders/:id/preferences", Handler: a.getPreferences, Who: byCustomer},
		{Method: "PUT", Path: "/v1/stores/:store/orders/:id/preferences", Handler: a.putPreferences, Who: byCustomer},
		{Method: "GET", Path: "/v1/stores/:store/orders/:id/live", Handler: a.getOrderLive, Who: byCustomer | byBarista | byStaff, Live: true},
		{Method: "GET", Path: "/v1/stores/:store/board", Handler: a.getBoard, Who: byBarista | byStaff},
		{Method: "GET", Path: "/v1/stores/:store/board/live", Handler: a.getBoardLive, Who: byBarista | byStaff, Live: true},
		{Method: "POST", Path: "/v1/stores/:store/commands", Handler: a.postCommands, Who: byBarista | byManager | byAdmin},

		{Method: "POST", Path: webhookPath, Handler: a.postProviderMessage},
		{Method: "GET", Path: "/v1/payments/differences", Handler: a.getDifferences, Who: byStaff},
		{Method: "POST", Path: "/v1/payments/reconcile", Handler: a.postReconcile, Who: byAdmin},

		{Method: "GET", Path: "/", Handler: a.shopPage, Page: true},
		{Method: "GET", Path: "/:store", Handler: a.storePage, Page: true},
		{Method: "GET", Path: "/:store/orders/:id", Handler: a.orderPage, Page: true},
		{Method: "GET", Path: "/:store/orders/:id/receipt", Handler: a.receiptPage, Page: true},
		{Method: "GET", Path: "/:store/board", Handler: a.boardPage, Page: true},
		{Method: "GET", Path: "/static/*", Handler: a.static, Memory: true},
		{Method: "GET", Path: "/staff/sign-in", Handler: a.staffSignInForm, Page: true},
		{Method: "POST", Path: "/staff/sign-in", Handler: a.staffSignIn, Page: true},
		{Method: "GET", Path: "/staff/forgot", Handler: a.staffForgotForm, Page: true},
		{Method: "POST", Path: "/staff/forgot", Handler: a.staffForgot, Page: true},
		{Method: "GET", Path: "/staff/reset", Handler: a.staffResetForm, Page: true},
		{Method: "POST", Path: "/staff/reset", Handler: a.staffReset, Page: true},
		{Method: "POST", Path: "/staff/sign-out", Handler: a.staffSignOut, Page: true},
		{Method: "GET", Path: "/staff", Handler: a.staffHome, Who: byStaff, Page: true},
		{Method: "GET", Path: "/staff/payments", Handler: a.staffPayments, Who: byStaff, Page: true},
		{Method: "GET", Path: "/staff/orders", Handler: a.findOrder, Who: byStaff, Page: true},
		{Method: "GET", Path: "/staff/:store/orders/:id", Handler: a.staffOrderPage, Who: byStaff, Page: true},
		{Method: "GET", Path: "/staff/refunds", Handler: a.staffRefunds, Who: byStaff, Page: true},
		{Method: "POST", Path: "/staff/:store/orders/:id/refunds", Handler: a.staffRefund, Who: byStaff, Page: true},
		{Method: "POST", Path: "/staff/:store/orders/:id/refunds/:n/again", Handler: a.staffRefundAgain, Who: byStaff, Page: true},
		{Method: "POST", Path: "/staff/:store/orders/:id/refunds/:n/by-hand", Handler: a.staffRefundByHand, Who: byStaff, Page: true},
		{Method: anyMethod, Path: dashboardPath, Handler: a.dashboardPage, Who: byAdmin},
		{Method: anyMethod, Path: dashboardPath + "/*", Handler: a.dashboardPage, Who: byAdmin},
	}
}

// newEcho puts the routes behind everything that holds for all of them.
func (a *API) newEcho() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(slog.NewLogLogger(a.log.Handler(), slog.LevelWarn).Writer())
	e.HTTPErrorHandler = a.answerProblem
	trust := trustedProxies(a.config.TrustedProxies)
	e.IPExtractor = echo.ExtractIPFromXFFHeader(trust...)
	e.SchemeExtractor = echo.ExtractSchemeFromHeaders(trust...)
	e.Use(a.observe, a.recovered, a.rateLimit())
	for _, route := range a.routes() {
		switch route.Method {
		case anyMethod:
			e.Any(route.Path, a.admit(route))
		case http.MethodGet:
			e.GET(route.Path, a.admit(route))
			if !route.Live {
				e.HEAD(route.Path, a.admit(route))
			}
		default:
			e.Add(route.Method, route.Path, a.admit(route))
		}
	}
	return e
}
