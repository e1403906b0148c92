package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// secret names the members that never leave a node through an inspect.
var secret = map[string]bool{"KeyPEM": true, "FleetKey": true, "JoinTokens": true, "PublicKey": true}

// Objects prints whole objects: an indented JSON array, with "json" one
// compact object a line, else each through the template.
func Objects[T any](w io.Writer, format string, objects []T) error {
	if format != "" && format != JSON {
		t, err := Template(format)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := execute(w, t, o); err != nil {
				return err
			}
		}
		return nil
	}
	var all []json.RawMessage
	for _, o := range objects {
		raw, err := Object(o)
		if err != nil {
			return err
		}
		if format == JSON {
			if _, err := fmt.Fprintf(w, "%s\n", raw); err != nil {
				return err
			}
		}
		all = append(all, raw)
	}
	if format == JSON {
		return nil
	}
	if all == nil {
		all = []json.RawMessage{}
	}
	raw, err := marshal(all)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := json.Indent(&buf, raw, "", "    "); err != nil {
		return fmt.Errorf("write as JSON: %w", err)
	}
	buf.WriteByte('\n')
	_, err = w.Write(buf.Bytes())
	return err
}

// Object renders one object as JSON in the order of its fields, without null
// members, zero times and secrets.
func Object(v any) ([]byte, error) {
	raw, err := marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out bytes.Buffer
	if err := prune(dec, &out); err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return out.Bytes(), nil
}

// prune copies the decoder's next value.
func prune(dec *json.Decoder, out *bytes.Buffer) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		raw, err := marshal(token)
		out.Write(raw)
		return err
	}
	out.WriteByte(byte(delim))
	for first := true; dec.More(); {
		var member bytes.Buffer
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			var value bytes.Buffer
			if err := prune(dec, &value); err != nil {
				return err
			}
			if s := value.String(); secret[key.(string)] || s == "null" || s == `"0001-01-01T00:00:00Z"` {
				continue
			}
			raw, err := marshal(key)
			if err != nil {
				return err
			}
			member.Write(raw)
			member.WriteByte(':')
			member.Write(value.Bytes())
		} else if err := prune(dec, &member); err != nil {
			return err
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		out.Write(member.Bytes())
	}
	end, err := dec.Token()
	if err != nil {
		return err
	}
	out.WriteByte(byte(end.(json.Delim)))
	return nil
}
