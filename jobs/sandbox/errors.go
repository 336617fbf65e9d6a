package sandbox

import (
	"fmt"
	"net/http"
)

// apiError is an error of the API.
type apiError struct {
	status int
	errorShape
}

// errorShape is what the API says of an error; last_payment_error has the same.
type errorShape struct {
	Type          string `json:"type"`
	Code          string `json:"code,omitempty"`
	DeclineCode   string `json:"decline_code,omitempty"`
	Message       string `json:"message"`
	Param         string `json:"param,omitempty"`
	Charge        string `json:"charge,omitempty"`
	PaymentIntent any    `json:"payment_intent,omitempty"`
}

func (e *apiError) Error() string { return e.Message }

func (e *apiError) shape() *errorShape {
	shape := e.errorShape
	return &shape
}

// cardToken is the parameter that names the card.
const cardToken = "payment_method_data[card][token]"

var (
	errKey = &apiError{http.StatusUnauthorized, errorShape{Type: "invalid_request_error",
		Message: "You did not provide an API key of the form sk_... in the Authorization header."}}
	errRateLimit = &apiError{http.StatusTooManyRequests, errorShape{Type: "invalid_request_error", Code: "rate_limit",
		Message: "Request rate limit exceeded."}}
	errKeyInUse = &apiError{http.StatusConflict, errorShape{Type: "invalid_request_error", Code: "idempotency_key_in_use",
		Message: "There is currently another in-progress request using this Idempotency-Key."}}
	errInternal = &apiError{http.StatusInternalServerError, errorShape{Type: "api_error",
		Message: "An unknown error occurred."}}
)

func invalid(code, param, message string) *apiError {
	return &apiError{http.StatusBadRequest, errorShape{Type: "invalid_request_error", Code: code, Param: param, Message: message}}
}

func missing(what, param, id string) *apiError {
	e := invalid("resource_missing", param, fmt.Sprintf("No such %s: '%s'", what, id))
	if param != cardToken {
		e.status = http.StatusNotFound
	}
	return e
}

// unknownToken says invalid_token in a field of its own: resource_missing is said of other things too.
func unknownToken(token string) *apiError {
	e := missing("token", cardToken, token)
	e.DeclineCode = "invalid_token"
	return e
}

func keyReused(key string) *apiError {
	return &apiError{http.StatusBadRequest, errorShape{Type: "idempotency_error",
		Message: fmt.Sprintf("Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '%s' if you meant to execute a different request.", key)}}
}

func unexpectedState(verb, status string) *apiError {
	return invalid("payment_intent_unexpected_state", "",
		fmt.Sprintf("You cannot %s this PaymentIntent because it has a status of %s.", verb, status))
}

func unknownRoute(r *http.Request) *apiError {
	e := invalid("", "", fmt.Sprintf("Unrecognized request URL (%s: %s).", r.Method, r.URL.Path))
	e.status = http.StatusNotFound
	return e
}
