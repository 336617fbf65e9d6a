package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// contract is openapi.yaml, ready to hold exchanges against. Safe for concurrent use.
//
// kin-openapi judges the document, parameters and headers. Bodies go through schemas compiled once here:
// it would compile a 3.1 schema anew for every body, some milliseconds each.
type contract struct {
	doc      *openapi3.T
	router   routers.Router
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

// contractURL names the document to the schema compiler; nothing is fetched.
const contractURL = "contract:///openapi"

var loadContract = sync.OnceValues(func() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	plain, err := doc.MarshalJSON()
	if err != nil {
		return nil, err
	}
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(contractURL, resource); err != nil {
		return nil, err
	}
	return &contract{doc: doc, router: router, compiler: compiler, compiled: map[string]*jsonschema.Schema{}}, nil
})

func openContract(t testing.TB) *contract {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return c
}

// contractClient is an http.Client that holds every exchange against openapi.yaml: the answers always, the
// requests too if validRequests. Bodies of live streams and WebSockets pass through unread: check what they
// carry with checkSchema.
func contractClient(t testing.TB, validRequests bool) *http.Client {
	t.Helper()
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64
	base.ResponseHeaderTimeout = time.Minute // who is never answered is to fail, not to wait for the end of all tests
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: contractTransport{t, base, validRequests}}
}

type contractTransport struct {
	t             testing.TB
	base          http.RoundTripper
	validRequests bool
}

func (c contractTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	var reqBody, respBody []byte
	var err error
	if req.Body != nil {
		sent := req.Clone(req.Context())
		if reqBody, sent.Body, err = readAll(req.Body); err != nil {
			return nil, err
		}
		req = sent
	}
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols && mediaType(resp.Header) != "text/event-stream" {
		if respBody, resp.Body, err = readAll(resp.Body); err != nil {
			return nil, err
		}
	}
	checkContract(c.t, req, reqBody, resp, respBody, c.validRequests)
	return resp, nil
}

// readAll empties a body and gives its bytes, and another body with the same.
func readAll(body io.ReadCloser) ([]byte, io.ReadCloser, error) {
	data, err := io.ReadAll(body)
	return data, io.NopCloser(bytes.NewReader(data)), errors.Join(err, body.Close())
}

// checkContract fails the test if the answer is not what openapi.yaml says of the route, or, with validRequest,
// if the request is not.
func checkContract(t testing.TB, req *http.Request, reqBody []byte, resp *http.Response, respBody []byte, validRequest bool) {
	t.Helper()
	if err := openContract(t).fault(req, reqBody, resp, respBody, validRequest); err != nil {
		t.Errorf("%s %s: %d breaks the contract:\n%v\nrequest: %.2000s\nanswer: %.2000s",
			req.Method, req.URL.Path, resp.StatusCode, err, reqBody, respBody)
	}
}

// checkSchema fails the test if data is not JSON that fits the named schema of openapi.yaml, such as Order for
// the data of a server-sent event or BoardMessage for a WebSocket frame.
func checkSchema(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := openContract(t).schemaFault("#/components/schemas/"+name, data); err != nil {
		t.Errorf("not a valid %s:\n%v\n%.2000s", name, err, data)
	}
}

func (c *contract) fault(req *http.Request, reqBody []byte, resp *http.Response, respBody []byte, validRequest bool) error {
	route, vars, err := c.router.FindRoute(req)
	if err != nil {
		return c.undocumentedFault(req, resp, respBody, validRequest)
	}
	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: vars, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc,
		MultiError:          true,
		SkipSettingDefaults: true,
		ExcludeRequestBody:  true,
		ExcludeResponseBody: true,
	}}
	err = c.answerFault(input, resp, respBody)
	if validRequest {
		err = errors.Join(err, c.requestFault(input, reqBody))
	}
	return err
}

func (c *contract) answerFault(input *openapi3filter.RequestValidationInput, resp *http.Response, body []byte) error {
	status := strconv.Itoa(resp.StatusCode)
	ref := input.Route.Operation.Responses.Value(status)
	if ref == nil {
		return fmt.Errorf("status %s is not documented", status)
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header, Options: input.Options,
	})
	at := ref.Ref
	if at == "" {
		at = operationPointer(input.Route) + "/responses/" + status
	}
	err = errors.Join(err, c.bodyFault(at, ref.Value.Content, resp.Header, body))
	if mediaType(resp.Header) == problemJSON {
		err = errors.Join(err, problemFault(resp.StatusCode, body))
	}
	return err
}

func (c *contract) requestFault(input *openapi3filter.RequestValidationInput, body []byte) error {
	err := openapi3filter.ValidateRequest(context.Background(), input)
	ref := input.Route.Operation.RequestBody
	if len(body) == 0 && (ref == nil || !ref.Value.Required) {
		return err
	}
	if ref == nil {
		return errors.Join(err, errors.New("a request body is not documented"))
	}
	return errors.Join(err, c.bodyFault(operationPointer(input.Route)+"/requestBody", ref.Value.Content, input.Request.Header, body))
}

// undocumentedFault lets pages and their files be, which are outside the API; whatever else is refused there
// must be refused with a problem.
func (c *contract) undocumentedFault(req *http.Request, resp *http.Response, body []byte, validRequest bool) error {
	media := mediaType(resp.Header)
	api := strings.HasPrefix(req.URL.Path, "/v1/")
	switch {
	case api && validRequest:
		return errors.New("a valid request goes to a documented route")
	case req.Method == http.MethodHead, !api && (resp.StatusCode < 400 || media == "text/html"):
		return nil
	case resp.StatusCode < 400 || media != problemJSON:
		return fmt.Errorf("an unknown route answers %d %q, not a problem", resp.StatusCode, media)
	case resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "":
		return errors.New("405 without Allow")
	}
	return errors.Join(c.schemaFault("#/components/schemas/Problem", body), problemFault(resp.StatusCode, body))
}

const problemJSON = "application/problem+json"

// problemFault checks what a schema cannot say of a problem: that it agrees with itself and with its answer.
func problemFault(status int, body []byte) error {
	var p struct {
		Type, Code string
		Status     int
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	if p.Type != "/problems/"+p.Code || p.Status != status {
		return fmt.Errorf("problem %q of type %q says %d in an answer of %d", p.Code, p.Type, p.Status, status)
	}
	return nil
}

// bodyFault checks a body against the content at a JSON Pointer. A media type without a schema is not looked into.
func (c *contract) bodyFault(at string, content openapi3.Content, header http.Header, body []byte) error {
	if len(content) == 0 && len(body) == 0 {
		return nil
	}
	media := mediaType(header)
	documented := content[media]
	if documented == nil {
		return fmt.Errorf("content type %q is not documented", header.Get("Content-Type"))
	}
	if documented.Schema == nil {
		return nil
	}
	return c.schemaFault(at+"/content/"+escapePointer(media)+"/schema", body)
}

func (c *contract) schemaFault(at string, data []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	schema, err := c.schema(at)
	if err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(value); !errors.As(err, &invalid) {
		return err
	}
	return errors.Join(leaves(invalid)...)
}

func (c *contract) schema(at string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if schema := c.compiled[at]; schema != nil {
		return schema, nil
	}
	schema, err := c.compiler.Compile(contractURL + at)
	if err != nil {
		return nil, err
	}
	c.compiled[at] = schema
	return schema, nil
}

// leaves are the faults themselves, without the schemas that they lie in. Beside any other fault
// unevaluatedProperties complains of every field: that is left out.
func leaves(invalid *jsonschema.ValidationError) []error {
	if len(invalid.Causes) == 0 {
		return []error{invalid}
	}
	isFault := func(cause *jsonschema.ValidationError) bool {
		_, unevaluated := cause.ErrorKind.(*kind.FalseSchema)
		return !unevaluated
	}
	anyFault := slices.ContainsFunc(invalid.Causes, isFault)
	var faults []error
	for _, cause := range invalid.Causes {
		if isFault(cause) || !anyFault {
			faults = append(faults, leaves(cause)...)
		}
	}
	return faults
}

func mediaType(header http.Header) string {
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return media
}

func operationPointer(r *routers.Route) string {
	return "#/paths/" + escapePointer(r.Path) + "/" + strings.ToLower(r.Method)
}

func escapePointer(token string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
}
