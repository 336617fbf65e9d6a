package db

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/google/uuid"
)

// The tokens say by their first letters what they are. An order's is derived from the secret and never stored; those of
// devices and staff are random and stored as hashes.
const (
	OrderPrefix  = "fpo_"
	DevicePrefix = "fpd_"
	staffPrefix  = "fps_"

	macBytes    = 20
	randomBytes = 24
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// OrderToken is the token with which a customer proves that an order is theirs.
func OrderToken(secret []byte, ref OrderRef) string {
	raw := binary.BigEndian.AppendUint32(nil, uint32(ref.StoreID))
	raw = append(raw, ref.ID[:]...)
	return OrderPrefix + tokenEncoding.EncodeToString(append(raw, orderMAC(secret, raw)...))
}

// ParseOrderToken is the order whose token it is, false if it is nobody's.
func ParseOrderToken(secret []byte, token string) (OrderRef, bool) {
	raw, ok := decodeToken(token, OrderPrefix, 20+macBytes)
	if !ok || !hmac.Equal(raw[20:], orderMAC(secret, raw[:20])) {
		return OrderRef{}, false
	}
	return OrderRef{int32(binary.BigEndian.Uint32(raw[:4])), uuid.UUID(raw[4:20])}, true
}

func orderMAC(secret, of []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("order token\x00"))
	mac.Write(of)
	return mac.Sum(nil)[:macBytes]
}

// newDeviceToken is a random token that names its store, which the look-up needs.
func newDeviceToken(storeID int32) string {
	raw := binary.BigEndian.AppendUint32(nil, uint32(storeID))
	return DevicePrefix + tokenEncoding.EncodeToString(append(raw, random()...))
}

// storeOfDeviceToken is the store that a device token names; nothing is proved by it.
func storeOfDeviceToken(token string) (int32, bool) {
	raw, ok := decodeToken(token, DevicePrefix, 4+randomBytes)
	if !ok {
		return 0, false
	}
	return int32(binary.BigEndian.Uint32(raw)), true
}

// decodeToken takes the one spelling of a token; the decoder by itself would skip line ends.
func decodeToken(token, prefix string, size int) ([]byte, bool) {
	encoded, ok := strings.CutPrefix(token, prefix)
	if !ok || len(encoded) != tokenEncoding.EncodedLen(size) {
		return nil, false
	}
	raw, err := tokenEncoding.DecodeString(encoded)
	return raw, err == nil && len(raw) == size
}

func newStaffToken() string { return staffPrefix + tokenEncoding.EncodeToString(random()) }

func random() []byte {
	raw := make([]byte, randomBytes)
	_, _ = rand.Read(raw) // never fails
	return raw
}

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
