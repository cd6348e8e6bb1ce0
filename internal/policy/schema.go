package policy

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema is the JSON Schema of a policy file, for editors that check TOML with one.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[File](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Signalbox policy"
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps of strings always can be written
	}
	return append(text, '\n')
}

func schemaOf(t reflect.Type, tag reflect.StructTag) map[string]any {
	s := make(map[string]any)
	if doc := tag.Get("doc"); doc != "" {
		s["description"] = doc
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		s["type"], s["pattern"] = "string", `^[0-9]+(d|[0-9hms]+)$`
	case t.Kind() == reflect.Pointer:
		for k, v := range schemaOf(t.Elem(), "") {
			s[k] = v
		}
	case t.Kind() == reflect.Struct:
		properties := make(map[string]any)
		for i := range t.NumField() {
			field := t.Field(i)
			properties[field.Tag.Get("toml")] = schemaOf(field.Type, field.Tag)
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
	case t.Kind() == reflect.Slice:
		s["type"], s["items"] = "array", schemaOf(t.Elem(), reflect.StructTag(enumTag(tag)))
	case t.Kind() == reflect.Map:
		s["type"], s["additionalProperties"] = "object", schemaOf(t.Elem(), "")
	case t.Kind() == reflect.Bool:
		s["type"] = "boolean"
	case t.Kind() == reflect.Int:
		s["type"] = "integer"
	default:
		s["type"] = "string"
		if enum := tag.Get("enum"); enum != "" {
			s["enum"] = strings.Split(enum, ",")
		}
	}
	return s
}

// enumTag keeps of a list's tag what its items are bound by.
func enumTag(tag reflect.StructTag) string {
	if enum := tag.Get("enum"); enum != "" {
		return `enum:"` + enum + `"`
	}
	return ""
}
