package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Code lets one board in, once, by an operator's word. It has two halves of 25
// bits: Shown is what both ends of a channel make of it, each for itself, so
// that a man in the middle, who has two, shows another at each end; the secret
// is known to the board that waits and to whoever reads it there. The zero
// value is no code.
type Code struct {
	shown  string
	secret string
}

// codeHalf is the length of each half, of 5 bits a character.
const codeHalf = 5

// codeText is Crockford's base 32: no letter is taken for a digit.
var codeText = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewCode makes the code of a board that waits on a channel.
func NewCode(shown string) Code {
	var raw [5]byte
	_, _ = rand.Read(raw[:]) // it never fails
	return Code{shown, codeText.EncodeToString(raw[:])[:codeHalf]}
}

// ShownCode is the half of a code that both ends of a channel know: of the
// channel's keying material, of what was said on it, and of the keys that both
// sides have proven to hold. Nobody must be able to choose any of it once he
// knows the rest: see docs/adr/0006-accept-by-code.md.
func ShownCode(channel, transcript, dialer, acceptor []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte("edgeswarm accept 1"), channel, transcript, dialer, acceptor} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return codeText.EncodeToString(h.Sum(nil))[:codeHalf]
}

// ParseCode reads a code as Reveal wrote it, or as people do.
func ParseCode(s string) (Code, error) {
	const op = "read code"
	clean := strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		default:
			return r
		}
	}, strings.ToUpper(s))
	if len(clean) != 2*codeHalf {
		return Code{}, api.Errorf(api.Invalid, op, "a code has two groups of %d characters, such as K7QMP-3XPDW: copy it whole from `edgectl status` on the board that waits", codeHalf)
	}
	if i := strings.IndexFunc(clean, func(r rune) bool { return !strings.ContainsRune("0123456789ABCDEFGHJKMNPQRSTVWXYZ", r) }); i >= 0 {
		return Code{}, api.Errorf(api.Invalid, op, "no code has the character %q: copy it again", clean[i:i+1])
	}
	return Code{clean[:codeHalf], clean[codeHalf:]}, nil
}

// Shown is the half that the fleet shows too.
func (c Code) Shown() string { return c.shown }

// Secret is the half that the fleet does not know before the operator says it.
func (c Code) Secret() string { return c.secret }

// Reveal is the code in full, for the screen of the board that waits.
func (c Code) Reveal() string { return c.shown + "-" + c.secret }

// Opens reports, in constant time, whether a secret is this code's.
func (c Code) Opens(secret string) bool {
	return c.secret != "" && subtle.ConstantTimeCompare([]byte(c.secret), []byte(secret)) == 1
}

// String keeps the secret half out of logs.
func (c Code) String() string { return fmt.Sprintf("code %s-*****", c.shown) }

// GoString keeps %#v from printing it.
func (c Code) GoString() string { return c.String() }

// LogValue implements slog.LogValuer.
func (c Code) LogValue() slog.Value { return slog.StringValue(c.String()) }
