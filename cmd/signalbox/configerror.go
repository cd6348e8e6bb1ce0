package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// configError is one finding in a configuration file, printed as a compiler does: FILE:LINE:COL: message, the line, a caret.
type configError struct {
	file      string
	line, col int    // from 1; line 0 when the finding has no place
	source    string // the line
	message   string
}

func (e *configError) Error() string {
	if e.line == 0 {
		return e.file + ": " + e.message
	}
	return fmt.Sprintf("%s:%d:%d: %s\n    %s\n    %s^", e.file, e.line, e.col, e.message, e.source, blankUnder(e.source, e.col-1))
}

// blankUnder is n columns of white space that line up under s: tabs stay tabs.
func blankUnder(s string, n int) string {
	var b strings.Builder
	for _, r := range s[:min(n, len(s))] {
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// places knows where each value of the file stands, so that a value found wrong later (a port in use) is shown where it was written.
type places struct {
	file string
	doc  []byte
	at   map[string]int // "listen.udp", "listen.udp[1]" -> offset of the value
	keys map[string]int // the same -> offset of the key
}

func newPlaces(file string, doc []byte) *places {
	p := &places{file: file, doc: doc, at: map[string]int{}, keys: map[string]int{}}
	var parser unstable.Parser
	parser.Reset(doc)
	table, counts := "", map[string]int{}
	for parser.NextExpression() {
		switch node := parser.Expression(); node.Kind {
		case unstable.Table:
			table = joinKey("", node.Key())
			// [rule.when] belongs to the latest [[rule]].
			if first, rest, ok := strings.Cut(table, "."); ok && counts[first] > 0 {
				table = fmt.Sprintf("%s[%d].%s", first, counts[first]-1, rest)
			}
			p.addTable(table, node)
		case unstable.ArrayTable:
			name := joinKey("", node.Key())
			table = fmt.Sprintf("%s[%d]", name, counts[name])
			counts[name]++
			p.addTable(table, node)
		case unstable.KeyValue:
			p.add(table, node)
		}
	}
	return p
}

// addTable notes where the name of a table stands.
func (p *places) addTable(table string, node *unstable.Node) {
	if it := node.Key(); it.Next() {
		p.at[table] = int(it.Node().Raw.Offset)
	}
}

func (p *places) add(table string, kv *unstable.Node) {
	key := joinKey(table, kv.Key())
	end := 0
	for it := kv.Key(); it.Next(); {
		if end == 0 {
			p.keys[key] = int(it.Node().Raw.Offset)
		}
		end = int(it.Node().Raw.Offset + it.Node().Raw.Length)
	}
	// Arrays carry no range of their own: the value begins behind the equals sign.
	for end < len(p.doc) && strings.IndexByte(" \t=", p.doc[end]) >= 0 {
		end++
	}
	p.at[key] = end
	value := kv.Value()
	i := 0
	for it := value.Children(); it.Next(); {
		switch node := it.Node(); {
		case value.Kind == unstable.InlineTable && node.Kind == unstable.KeyValue:
			p.add(key, node)
		case value.Kind == unstable.Array && node.Kind != unstable.Comment:
			p.at[fmt.Sprintf("%s[%d]", key, i)] = int(node.Raw.Offset)
			i++
		}
	}
}

func joinKey(table string, it unstable.Iterator) string {
	key := table
	for it.Next() {
		if key != "" {
			key += "."
		}
		key += string(it.Node().Data)
	}
	return key
}

// errorf makes the finding for a key; a key that the file does not have (a default that does not work) gives a finding without a place.
func (p *places) errorf(key, format string, args ...any) *configError {
	e := &configError{file: p.file, message: key + ": " + fmt.Sprintf(format, args...)}
	if at, ok := p.at[key]; ok {
		e.place(p.doc, at)
	}
	return e
}

// item is the key of the i-th value of a list; a value that is no list has the list's own key.
func (p *places) item(key string, i int) string {
	if one := fmt.Sprintf("%s[%d]", key, i); p.at[one] != 0 {
		return one
	}
	return key
}

func (e *configError) place(doc []byte, at int) {
	start := strings.LastIndexByte(string(doc[:at]), '\n') + 1
	e.line = strings.Count(string(doc[:at]), "\n") + 1
	e.col = at - start + 1
	e.source, _, _ = strings.Cut(string(doc[start:]), "\n")
	e.source = strings.TrimSuffix(e.source, "\r")
}

// decodeErrors turns what the TOML library says about a file of that structure into findings in the operator's words.
func (p *places) decodeErrors(err error, file reflect.Type) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var all []error
		for i := range strict.Errors {
			line, col := strict.Errors[i].Position()
			key := p.keyAt(p.keys, line, col, strings.Join(strict.Errors[i].Key(), "."))
			message := "unknown key " + key
			parts := fieldNames(key)
			if known := knownKeys(file, parts[:len(parts)-1]); known != "" {
				message += "; known here: " + known
			}
			all = append(all, p.decodeError(&strict.Errors[i], message))
		}
		return errors.Join(all...)
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		message := strings.TrimPrefix(decode.Error(), "toml: ")
		line, col := decode.Position()
		key := p.keyAt(p.at, line, col, strings.Join(decode.Key(), "."))
		if want := wantedType(file, key); want != "" && strings.HasPrefix(message, "cannot decode") {
			message = key + ": wrong type: want " + want
		}
		return p.decodeError(decode, message)
	}
	return &configError{file: p.file, message: err.Error()}
}

// keyAt is the key that stands, or whose value stands, at a place, or otherwise. The TOML library names the table only when that is written in one line.
func (p *places) keyAt(places map[string]int, line, col int, otherwise string) string {
	found := otherwise
	for key, at := range places {
		var e configError
		if e.place(p.doc, at); e.line == line && e.col == col && len(key) > len(found) {
			found = key
		}
	}
	return found
}

func (p *places) decodeError(d *toml.DecodeError, message string) *configError {
	e := &configError{file: p.file, message: message}
	e.line, e.col = d.Position()
	lines := strings.Split(string(p.doc), "\n")
	if e.line >= 1 && e.line <= len(lines) {
		e.source = strings.TrimSuffix(lines[e.line-1], "\r")
	}
	return e
}

// fieldNames are the parts of a key, without the numbers in it.
func fieldNames(key string) (parts []string) {
	for part := range strings.SplitSeq(key, ".") {
		name, _, _ := strings.Cut(part, "[")
		parts = append(parts, name)
	}
	return parts
}

// fieldOf follows a key through the file's structure.
func fieldOf(t reflect.Type, key []string) (reflect.Type, bool) {
	for _, part := range key {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			t = t.Elem()
			continue
		}
		if t.Kind() != reflect.Struct {
			return nil, false
		}
		found := false
		for i := range t.NumField() {
			if t.Field(i).Tag.Get("toml") == part {
				t, found = t.Field(i).Type, true
				break
			}
		}
		if !found {
			return nil, false
		}
	}
	return t, true
}

func knownKeys(t reflect.Type, table []string) string {
	t, ok := fieldOf(t, table)
	for ok && (t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer) {
		t = t.Elem()
	}
	if !ok || t.Kind() != reflect.Struct {
		return ""
	}
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("toml"))
	}
	return strings.Join(names, ", ")
}

// wantedType says what the value of a key, such as rule[1].when.source[0], should be.
func wantedType(t reflect.Type, key string) string {
	t, ok := fieldOf(t, fieldNames(key))
	if !ok {
		return ""
	}
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && strings.HasSuffix(key, "]") {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return `a string in quotes`
	case reflect.Int, reflect.Uint32:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of strings"
	case reflect.Struct:
		return "a table"
	}
	return ""
}
